"""`backstay init`: a first configuration that is valid at once, and scripts that nobody's own are lost for."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.adapters.init import SCRIPTS, template
from backstay.config import check, load
from backstay.config.starter import guess_app, starter
from devtools.docs_in_step import ROOT
from tests.cli.conftest import Backstay

GUESSES = {
    "shop": "shop", "My Shop!": "my-shop", "2026_shop": "shop", "--": "app", "été": "t", "店": "app", "": "app",
    "a" * 60: "a" * 40, "x" * 39 + " y": "x" * 39,
}  # fmt: skip


@pytest.fixture
def empty(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new repository without anything of ours."""
    made = folder.parent / "My Shop"
    (made / ".git").mkdir(parents=True)
    monkeypatch.chdir(made)
    return made


@pytest.mark.parametrize(("folder_name", "app"), GUESSES.items())
def test_the_folder_names_the_application(folder_name: str, app: str) -> None:
    assert guess_app(folder_name) == app


@given(st.text())
def test_every_guess_is_a_good_name(folder_name: str) -> None:
    starter("@APP@", guess_app(folder_name))


def test_the_first_configuration_is_valid_as_it_is(backstay: Backstay, empty: Path) -> None:
    done = backstay("init")
    assert done.status == 0 and done.out == f"written    {empty / 'backstay.yml'}\n"
    assert "echo '.secrets/' >>.gitignore" in done.err and "backstay config check" in done.err
    checked = backstay("config", "check", "--json")
    assert checked.status == 0
    assert checked.document == {"ok": True, "checks": []}, "no warning to begin with either"
    for environment in ("dev", "prod"):
        rows = {r["key"]: r["value"] for r in backstay("config", "show", environment, "--json").document}
        assert rows["app"] == "my-shop"
        application = load(empty / "backstay.yml", environment, {})
        assert sorted(application.components) == ["backend", "frontend"]
        assert application.environment.secrets_file == str(empty / ".secrets" / f"{environment}.env")


def test_every_line_that_is_commented_out_is_valid_too(tmp_path: Path) -> None:
    """Who takes the mark off a suggestion must not meet a fault."""
    lines = starter(template("backstay.yml").decode(), "shop").splitlines()
    suggestions = [n for n, line in enumerate(lines) if ": " in line and line.lstrip().startswith("# ")][1:]
    assert len(suggestions) >= 5
    for number in suggestions:
        lines[number] = lines[number].replace("# ", "", 1)
    path = tmp_path / "backstay.yml"
    path.write_text("\n".join(lines) + "\n")
    assert [str(problem) for problem in check(path, {})] == []
    assert load(path, "dev", {}).components["backend"].migrate


def test_the_name_can_be_given(backstay: Backstay, empty: Path) -> None:
    assert backstay("init", "--app", "store").status == 0
    assert "image: registry.example/store-backend" in (empty / "backstay.yml").read_text()


@pytest.mark.parametrize("app", ["Shop", "1shop", "a b", "", "x" * 41, "shop\n"])
def test_a_name_that_would_be_refused_is_refused_at_once(backstay: Backstay, empty: Path, app: str) -> None:
    done = backstay("init", "--app", app)
    assert done.status == 2 and "must be lower-case letters" in done.err and "next:  for example" in done.err
    assert not (empty / "backstay.yml").exists()


@pytest.mark.parametrize("kind", ["file", "empty", "dangling", "folder"])
def test_a_configuration_is_never_overwritten(backstay: Backstay, empty: Path, kind: str) -> None:
    path = empty / "backstay.yml"
    if kind == "dangling":
        path.symlink_to("elsewhere.yml")
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_text("app: mine\n" if kind == "file" else "")
    before = path.lstat()
    done = backstay("init")
    assert done.status == 2 and f"{path} is there already, and is never overwritten" in done.err
    assert "state: nothing was written" in done.err and "next:  " in done.err
    assert path.lstat() == before and not (empty / "elsewhere.yml").exists()


def test_secrets_that_git_ignores_already_need_no_hint(backstay: Backstay, empty: Path) -> None:
    (empty / ".gitignore").write_text("*.pyc\n/.secrets\n")
    assert ".gitignore" not in backstay("init").err


def test_as_json(backstay: Backstay, empty: Path) -> None:
    document = backstay("init", "--json").document
    assert document["files"] == [{"path": str(empty / "backstay.yml"), "state": "written"}]
    assert document["next"][-1] == "backstay config check"
    rows = backstay("init", "--github", "--json").document["files"]
    assert [row["path"] for row in rows] == [str(empty / ".github/scripts" / name) for name in SCRIPTS]
    assert {row["state"] for row in rows} == {"written"}


def test_without_a_configuration_init_is_named(backstay: Backstay, empty: Path) -> None:
    assert "next:  backstay init writes a first one" in backstay("status").err


@pytest.mark.parametrize(("options", "said"), [("--app x --github", "--app"), ("--force", "--force is for")])
def test_options_that_do_not_fit(backstay: Backstay, empty: Path, options: str, said: str) -> None:
    done = backstay("init", *options.split())
    assert done.status == 2 and said in done.err
    assert sorted(path.name for path in empty.iterdir()) == [".git"]


def test_the_scripts_go_to_the_root_of_the_repository(
    backstay: Backstay, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = empty / "src" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert backstay("init", "--github").status == 0
    written = sorted((empty / ".github/scripts").iterdir())
    assert [path.name for path in written] == sorted(SCRIPTS)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o755 for path in written)
    assert sorted(path.name for path in empty.iterdir()) == [".git", ".github", "src"]


def test_a_second_time_nothing_changes(backstay: Backstay, empty: Path) -> None:
    backstay("init", "--github")
    script = empty / ".github/scripts/smoke-tests.sh"
    script.chmod(0o644)
    before = {path: path.stat().st_mtime_ns for path in script.parent.iterdir()}
    done = backstay("init", "--github")
    assert done.status == 0 and done.out.count("unchanged") == 5
    assert {path: path.stat().st_mtime_ns for path in script.parent.iterdir()} == before
    assert stat.S_IMODE(script.stat().st_mode) == 0o755, "but it can be run again"


def test_what_somebody_changed_stays_and_then_nothing_is_written(backstay: Backstay, empty: Path) -> None:
    backstay("init", "--github")
    scripts = empty / ".github/scripts"
    (scripts / "smoke-tests.sh").write_text("#!/bin/sh\n# ours\n")
    (scripts / "deployment-rollback.sh").unlink()
    done = backstay("init", "--github")
    assert done.status == 2 and ".github/scripts/smoke-tests.sh" in done.err and "--force" in done.err
    assert "deployment-rollback.sh" not in done.err
    assert (scripts / "smoke-tests.sh").read_text() == "#!/bin/sh\n# ours\n"
    assert not (scripts / "deployment-rollback.sh").exists()
    done = backstay("init", "--github", "--force")
    assert done.status == 0
    assert (done.out.count("replaced"), done.out.count("written"), done.out.count("unchanged")) == (1, 1, 3)
    assert (scripts / "smoke-tests.sh").read_bytes() == template("github/smoke-tests.sh")
    assert sorted(path.name for path in scripts.iterdir()) == sorted(SCRIPTS)


def test_a_place_that_cannot_be_written_to(backstay: Backstay, empty: Path) -> None:
    (empty / ".github").write_text("a file\n")
    done = backstay("init", "--github")
    assert done.status == 2 and "cannot be written: Not a directory" in done.err and "next:  " in done.err
    assert (empty / ".github").read_text() == "a file\n"


def test_shellcheck_has_nothing_to_say(backstay: Backstay, empty: Path) -> None:
    backstay("init", "--github")
    shellcheck = shutil.which("shellcheck", path=f"{ROOT / '.venv' / 'bin'}:/usr/bin")
    assert shellcheck is not None
    scripts = sorted((empty / ".github/scripts").iterdir())
    done = subprocess.run([shellcheck, *scripts], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_package_carries_its_templates(tmp_path: Path) -> None:
    """In a wheel, as others get it, not only in the checkout."""
    from zipfile import ZipFile

    from hatchling.builders.wheel import WheelBuilder

    [built] = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = set(ZipFile(built).namelist())
    wanted = {f"backstay/templates/github/{name}" for name in SCRIPTS} | {"backstay/templates/backstay.yml"}
    assert wanted <= names
