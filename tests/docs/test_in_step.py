"""The documents name what the program has; and the check that says so notices when they do not."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import click
import pytest

from backstay.cli.main import COMMANDS
from backstay.config import check
from devtools import docs_in_step
from devtools.docs_in_step import ROOT, check_commands, check_keys, check_links, check_statuses, check_tests


@click.command()
@click.option("--thrice", is_flag=True)
def pump(thrice: bool) -> None:
    """A command nobody wrote about."""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The documents alone, to spoil."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for name in docs_in_step.TOP:
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_everything_is_in_step(capsys: pytest.CaptureFixture[str]) -> None:
    status = docs_in_step.main()

    assert (status, capsys.readouterr().err) == (0, "")


def test_a_new_command_without_a_section_is_noticed() -> None:
    names = [*COMMANDS, "pump"]

    def lookup(name: str) -> click.Command:
        return pump if name == "pump" else docs_in_step._load(name)

    assert check_commands(ROOT, names, lookup) == ["docs/commands.md: no section `## pump`"]


def test_a_section_without_its_command_is_noticed(copy: Path) -> None:
    edit(copy / "docs/commands.md", "## deploy\n", "## config pump\n\nPumps.\n\n## deploy\n")

    assert "docs/commands.md: section 'config pump' is no command" in check_commands(copy)


def test_a_new_option_is_noticed() -> None:
    def lookup(name: str) -> click.Command:
        return pump

    assert (
        check_commands(ROOT, ["deploy"], lookup)[0]
        == "docs/commands.md: section 'deploy': --thrice is missing"
    )


def test_a_common_option_is_wanted_before_the_commands(copy: Path) -> None:
    edit(copy / "docs/commands.md", "`--no-color`", "`--colourless`")

    assert "docs/commands.md: before the first command: --no-color is missing" in check_commands(copy)


def test_a_missing_exit_status_is_noticed(copy: Path) -> None:
    edit(copy / "docs/commands.md", "\n| 21 |", "\n| 22 |")

    assert check_statuses(copy) == ["docs/commands.md: exit status 21 is not in a table"]


def test_a_missing_key_is_noticed(copy: Path) -> None:
    (copy / "docs/configuration.md").write_text("`app` only\n", encoding="utf-8")

    problems = check_keys(copy)

    assert "docs/configuration.md: key `stop_grace` is missing" in problems
    assert "docs/configuration.md: key `app` is missing" not in problems


def test_a_test_that_is_not_there_is_noticed(copy: Path) -> None:
    with (copy / "docs/architecture.md").open("a", encoding="utf-8") as document:
        document.write("\n`test_that_nothing_ever_breaks` in `tests/pump/test_pump.py`\n")

    assert check_tests(copy) == [
        "docs/architecture.md: there is no pump/test_pump.py",
        "docs/architecture.md: there is no test_that_nothing_ever_breaks",
    ]


def test_the_first_configuration_of_the_readme_is_good(tmp_path: Path) -> None:
    example = re.search(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    (tmp_path / "backstay.yml").write_text(example[1], encoding="utf-8")

    assert [str(p) for p in check(tmp_path / "backstay.yml", {}) if p.severity == "error"] == []


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("[x](docs/gone.md)", "README.md: docs/gone.md leads nowhere"),
        ("[x](docs/commands.md#no-such)", "README.md: docs/commands.md#no-such names no heading"),
        ("[x](#no-such)", "README.md: #no-such names no heading"),
        ("[x](docs/commands.md#deploy)", None),
        ("[x](https://example.org/gone.md)", None),
        ("```\n[x](docs/gone.md)\n```", None),
    ],
)
def test_links(copy: Path, link: str, problem: str | None) -> None:
    before = check_links(copy)
    with (copy / "README.md").open("a", encoding="utf-8") as readme:
        readme.write(f"\n{link}\n")

    assert [p for p in check_links(copy) if p not in before] == ([problem] if problem else [])
