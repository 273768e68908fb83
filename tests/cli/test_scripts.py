"""The five scripts of `init --github`, run as workflows run them; `backstay` is a double that writes down its call."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from backstay.adapters.init import SCRIPTS, repository, scripts, write
from backstay.adapters.postgres.connection import environment as libpq
from backstay.domain.secret import Secret

RECORDER = """\
#!{python}
import json, os, pathlib, sys
lines = []
for process in pathlib.Path("/proc").iterdir():
    if process.name.isdigit():
        try:
            lines.append((process / "cmdline").read_bytes().decode("utf-8", "replace"))
        except OSError:
            pass
call = {{"argv": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ), "processes": lines}}
pathlib.Path({record!r}).write_text(json.dumps(call))
print("said by backstay")
sys.exit(int(os.environ.get("ENDS_WITH", "0")))
"""
CHECK, BACKUP, SMOKE, ROLLBACK, NOTIFY = SCRIPTS
DATABASE = ["prod", "db.example", "shop", "shop_role"]


@dataclass
class Repository:
    """A repository with the scripts, and a `backstay` on the PATH that records how it is called."""

    folder: Path
    record: Path
    bin: Path

    def run(
        self, script: str, *arguments: str, cwd: str | Path | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        self.record.unlink(missing_ok=True)
        return subprocess.run(
            [self.folder / ".github/scripts" / script, *arguments],
            cwd=cwd or self.folder,
            env={"PATH": f"{self.bin}:/usr/bin:/bin", "LANG": "C.UTF-8", **env},
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip

    @property
    def call(self) -> dict[str, Any]:
        """How `backstay` was called last."""
        found: dict[str, Any] = json.loads(self.record.read_text())
        return found

    @property
    def url(self) -> str:
        url: str = self.call["env"]["BACKSTAY_DATABASE_URL"]
        return url


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    base = tmp_path_factory.mktemp("repo")
    made = Repository(base / "my shop", base / "call.json", base / "bin")
    (made.folder / ".git").mkdir(parents=True)
    (made.folder / "backstay.yml").write_text("app: shop\n")
    write(repository(made.folder), scripts(), force=False)
    made.bin.mkdir()
    double = made.bin / "backstay"
    double.write_text(RECORDER.format(python=sys.executable, record=str(made.record)))
    double.chmod(0o755)
    yield made


GOOD: list[tuple[str, list[str], list[str]]] = [
    (CHECK, ["dev"], ["check", "dev"]),
    (BACKUP, DATABASE, ["backup", "create", "prod"]),
    (BACKUP, [*DATABASE, "hunter2secret"], ["backup", "create", "prod"]),
    (SMOKE, ["https://uat.example"], ["smoke", "https://uat.example"]),
    (SMOKE, ["http://localhost:8000", "10"], ["smoke", "http://localhost:8000", "--retries", "10"]),
    (SMOKE, ["https://uat.example", "10", "5"], ["smoke", "https://uat.example", "--retries", "10", "--delay", "5"]),
    (SMOKE, ["http://[::1]/?a=b&c", "0", "0.5"], ["smoke", "http://[::1]/?a=b&c", "--retries", "0", "--delay", "0.5"]),
    (ROLLBACK, ["prod"], ["rollback", "prod", "all"]),
    (ROLLBACK, ["prod", "all"], ["rollback", "prod", "all"]),
    (ROLLBACK, ["prod", "frontend"], ["rollback", "prod", "frontend"]),
    (ROLLBACK, ["prod", "backend"], ["rollback", "prod", "backend"]),
    (ROLLBACK, ["prod", "backend", "--dry-run"], ["rollback", "prod", "backend", "--dry-run"]),
    (ROLLBACK, ["--dry-run", "prod"], ["rollback", "prod", "all", "--dry-run"]),
    (NOTIFY, ["prod", "started", "all", "Deployment initiated"],
     ["notify", "--", "prod", "started", "all", "Deployment initiated"]),
    (NOTIFY, ["prod", "on fire", "backend", "--json is no option here; 'quotes' $HOME `id`"],
     ["notify", "--", "prod", "on fire", "backend", "--json is no option here; 'quotes' $HOME `id`"]),
    (NOTIFY, ["prod", "success", "backend", ""], ["notify", "--", "prod", "success", "backend", ""]),
]  # fmt: skip


@pytest.mark.parametrize(("script", "arguments", "argv"), GOOD)
def test_the_documented_arguments_become_a_command(
    repo: Repository, script: str, arguments: list[str], argv: list[str]
) -> None:
    done = repo.run(script, *arguments)
    assert (done.returncode, done.stdout) == (0, "said by backstay\n"), done.stderr
    assert repo.call["argv"] == argv
    assert repo.call["cwd"] == str(repo.folder)


WRONG: list[tuple[str, list[str]]] = [
    (CHECK, []),
    (CHECK, ["dev", "prod"]),
    (CHECK, [""]),
    (CHECK, ["--help"]),
    (BACKUP, []),
    (BACKUP, DATABASE[:3]),
    (BACKUP, [*DATABASE, "p", "more"]),
    (BACKUP, ["", *DATABASE[1:]]),
    (BACKUP, ["prod", "", "shop", "role"]),
    (BACKUP, ["prod", "db", "", "role"]),
    (BACKUP, ["prod", "db", "shop", ""]),
    (BACKUP, ["--json", *DATABASE[1:]]),
    (BACKUP, ["prod", "db/evil", "shop", "role"]),
    (BACKUP, ["prod", "me@db", "shop", "role"]),
    (BACKUP, ["prod", "db:port", "shop", "role"]),
    (SMOKE, []),
    (SMOKE, [""]),
    (SMOKE, ["uat.example"]),
    (SMOKE, ["ftp://uat.example"]),
    (SMOKE, ["https://uat.example /x"]),
    (SMOKE, ["https://"]),
    (SMOKE, ["https://uat.example", "many"]),
    (SMOKE, ["https://uat.example", "-1"]),
    (SMOKE, ["https://uat.example", "1.5"]),
    (SMOKE, ["https://uat.example", "3", "soon"]),
    (SMOKE, ["https://uat.example", "3", "5s"]),
    (SMOKE, ["https://uat.example", "3", "5", "x"]),
    (ROLLBACK, []),
    (ROLLBACK, ["--dry-run"]),
    (ROLLBACK, ["prod", "everything"]),
    (ROLLBACK, ["prod", ""]),
    (ROLLBACK, ["prod", "all", "backend"]),
    (ROLLBACK, ["prod", "--force"]),
    (NOTIFY, []),
    (NOTIFY, ["prod", "started", "all"]),
    (NOTIFY, ["prod", "started", "all", "two", "texts"]),
    (NOTIFY, ["", "started", "all", "text"]),
    (NOTIFY, ["prod", "--json", "all", "text"]),
]


@pytest.mark.parametrize(("script", "arguments"), WRONG)
def test_wrong_arguments_are_2_with_the_usage_and_nothing_is_run(
    repo: Repository, script: str, arguments: list[str]
) -> None:
    done = repo.run(script, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"usage: {script} "), done.stderr
    assert not repo.record.exists()


ANY: Mapping[str, list[str]] = {script: arguments for script, arguments, _ in reversed(GOOD)}


@pytest.mark.parametrize(("script", "status"), list(product(SCRIPTS, (0, 1, 2, 10, 11, 12, 20, 21, 30, 130))))
def test_the_exit_status_is_that_of_backstay(repo: Repository, script: str, status: int) -> None:
    assert repo.run(script, *ANY[script], ENDS_WITH=str(status)).returncode == status


@pytest.mark.parametrize("script", SCRIPTS)
def test_they_find_the_configuration_from_anywhere(repo: Repository, tmp_path: Path, script: str) -> None:
    """Also through a link, as people put scripts on their PATH."""
    assert repo.run(script, *ANY[script], cwd=tmp_path).returncode == 0
    assert repo.call["cwd"] == str(repo.folder)
    link = tmp_path / "link.sh"
    link.symlink_to(repo.folder / ".github/scripts" / script)
    subprocess.run(
        [link, *ANY[script]], cwd=tmp_path, env={"PATH": f"{repo.bin}:/usr/bin:/bin"}, check=True,
        capture_output=True,
    )  # fmt: skip
    assert repo.call["cwd"] == str(repo.folder)


@pytest.mark.parametrize("script", SCRIPTS)
def test_without_a_configuration_they_stay_where_they_are_called(
    repo: Repository, tmp_path: Path, script: str
) -> None:
    config = repo.folder / "backstay.yml"
    config.rename(repo.folder / "away.yml")
    try:
        assert repo.run(script, *ANY[script], cwd=tmp_path, BACKSTAY_APP="shop").returncode == 0
    finally:
        (repo.folder / "away.yml").rename(config)
    assert (repo.call["cwd"], repo.call["env"]["BACKSTAY_APP"]) == (str(tmp_path), "shop")


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("named", ["{bin}/backstay", "bin/backstay", "./bin/backstay", "backstay"])
def test_backstay_can_be_named(repo: Repository, script: str, named: str) -> None:
    """A path is meant from where the script is called, not from the repository it goes to."""
    path = f"{repo.bin}:/usr/bin:/bin" if named == "backstay" else "/usr/bin:/bin"
    named = named.format(bin=repo.bin)
    done = repo.run(script, *ANY[script], cwd=repo.bin.parent, BACKSTAY=named, PATH=path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("env", [{"PATH": "/usr/bin:/bin"}, {"BACKSTAY": "/nowhere/backstay"}])
def test_without_backstay_they_say_what_to_do(repo: Repository, script: str, env: dict[str, str]) -> None:
    done = repo.run(script, *ANY[script], **env)
    assert done.returncode == 127
    assert "is not there; install Backstay, or name it with BACKSTAY=" in done.stderr


PASSWORD = "hunter2 s:e/c@r%e't\"€\\$é"


@pytest.mark.parametrize("by", ["argument", "variable"])
def test_the_password_is_in_no_argument_list(repo: Repository, by: str) -> None:
    """Of no process of this machine while backstay runs, not even of the script, in whose place it runs."""
    given_as = [PASSWORD] if by == "argument" else []
    env = {"DB_PASSWORD": PASSWORD} if by == "variable" else {}
    done = repo.run(BACKUP, *DATABASE, *given_as, **env)
    assert done.returncode == 0
    call = repo.call
    assert len(call["processes"]) > 3
    encoded = call["env"]["BACKSTAY_DATABASE_URL"].partition("@")[0].rpartition(":")[2]
    assert unquote(encoded) == PASSWORD
    for line in (*call["argv"], *call["processes"], done.stdout, done.stderr):
        assert PASSWORD not in line and encoded not in line and "hunter2" not in line
    others = {name: value for name, value in call["env"].items() if name != "BACKSTAY_DATABASE_URL"}
    assert "hunter2" not in json.dumps(others, ensure_ascii=False)
    assert ("warning: the PASSWORD argument can be read" in done.stderr) == (by == "argument")
    assert ("DB_PASSWORD" in done.stderr) == (by == "argument")


def test_a_trace_does_not_print_the_password(repo: Repository) -> None:
    script = repo.folder / ".github/scripts" / BACKUP
    done = subprocess.run(
        ["bash", "-x", script, *DATABASE], env={"PATH": f"{repo.bin}:/usr/bin:/bin", "DB_PASSWORD": PASSWORD},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "hunter2" not in done.stdout + done.stderr


def test_the_argument_goes_before_the_variable_and_an_empty_one_does_not(repo: Repository) -> None:
    """An unset secret of a workflow is an empty argument."""
    repo.run(BACKUP, *DATABASE, "one", DB_PASSWORD="two")
    assert repo.url == "postgresql://shop_role:one@db.example/shop"
    repo.run(BACKUP, *DATABASE, "", DB_PASSWORD="two")
    assert repo.url == "postgresql://shop_role:two@db.example/shop"
    repo.run(BACKUP, *DATABASE)
    assert repo.url == "postgresql://shop_role@db.example/shop"


HOSTS = [
    ("db.example", {}, {"PGHOST": "db.example", "PGPORT": "5432"}),
    ("db.example", {"PGPORT": "6432"}, {"PGHOST": "db.example", "PGPORT": "6432"}),
    ("db_1:6432", {"PGPORT": "1"}, {"PGHOST": "db_1", "PGPORT": "6432"}),
    ("10.0.0.7", {}, {"PGHOST": "10.0.0.7", "PGPORT": "5432"}),
    ("::1", {}, {"PGHOST": "::1", "PGPORT": "5432"}),
    ("[fe80::2]:6432", {}, {"PGHOST": "fe80::2", "PGPORT": "6432"}),
    ("/var/run/postgresql", {}, {"PGHOST": "/var/run/postgresql", "PGPORT": "5432"}),
    ("/run/my pg", {"PGPORT": "6432"}, {"PGHOST": "/run/my pg", "PGPORT": "6432"}),
]


@pytest.mark.parametrize(("host", "env", "expected"), HOSTS)
def test_every_way_to_name_a_host(
    repo: Repository, host: str, env: dict[str, str], expected: dict[str, str]
) -> None:
    assert repo.run(BACKUP, "prod", host, "shop", "role", "pw", **env).returncode == 0
    with libpq(Secret(repo.url)) as variables:
        assert {name: variables[name] for name in expected} == expected


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=TEXT, role=TEXT, password=TEXT, locale=st.sampled_from(["C", "C.UTF-8", "de_DE.UTF-8"]))
@example(name="a/b?c#d", role="o'neil@x:y", password="%41%%", locale="C")
@example(name="тест", role="é", password="\n\t\x7f\U0001f600", locale="C.UTF-8")
def test_any_text_arrives_as_it_was(
    repo: Repository, name: str, role: str, password: str, locale: str
) -> None:
    """Whatever libpq is given in the end is what the script was given."""
    arguments = [f"x{name}", f"x{role}"]
    done = repo.run(BACKUP, "prod", "db", *arguments, password, LANG=locale)
    assert done.returncode == 0, done.stderr
    assert repo.url.isascii()
    with libpq(Secret(repo.url)) as variables:
        assert [variables["PGDATABASE"], variables["PGUSER"]] == arguments
    login = repo.url.removeprefix("postgresql://").partition("@")[0]
    assert unquote(login.partition(":")[2]) == password


def test_nothing_of_the_callers_environment_is_lost(repo: Repository) -> None:
    repo.run(CHECK, "dev", BACKSTAY_HOME="/srv/state", DOCKER_HOST="unix:///x.sock")
    environment = repo.call["env"]
    assert (environment["BACKSTAY_HOME"], environment["DOCKER_HOST"]) == ("/srv/state", "unix:///x.sock")
