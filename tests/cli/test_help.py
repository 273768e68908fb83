"""Help: quick, complete, with examples."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from backstay.cli.main import COMMANDS
from devtools.docs_in_step import ROOT
from tests.cli.conftest import Backstay

HEAVY = (
    "alembic", "apprise", "asyncio", "cattrs", "docker", "http.client", "jsonpath", "pydantic", "requests",
    "rich", "sqlalchemy", "sqlite3", "urllib3", "yaml",
)  # fmt: skip
LISTING = """
import json, sys
sys.argv = ["backstay", *sys.argv[1:]]
from backstay.__main__ import main
try:
    main()
except SystemExit as left:
    print("\\n" + json.dumps([left.code, sorted(sys.modules)]))
"""
PATHS = [
    *((name,) for name in COMMANDS),
    *(("config", name) for name in ("check", "show", "schema")),
    *(("notifications", name) for name in ("list", "retry")),
    *(("lock", name) for name in ("show", "acquire", "release")),
]


def loaded_by(*args: str) -> set[str]:
    """The modules a new process has loaded after running these arguments with success."""
    done = subprocess.run(
        [sys.executable, "-c", LISTING, *args], capture_output=True, text=True, timeout=60, check=True
    )
    status, modules = json.loads(done.stdout.splitlines()[-1])
    assert status == 0, done.stderr
    return set(modules)


@pytest.mark.parametrize("args", [("--help",), ("--version",), ("version",)], ids=" ".join)
def test_the_frame_loads_no_heavy_library_and_no_adapter_that_needs_one(args: tuple[str, ...]) -> None:
    modules = loaded_by(*args)
    assert not modules & set(HEAVY)
    assert not {m for m in modules if m.startswith(("backstay.adapters", "backstay.pipeline"))}


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_help_of_a_command_loads_no_heavy_library(path: tuple[str, ...]) -> None:
    assert not loaded_by(*path, "--help") & set(HEAVY)


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_command_has_help_with_an_example(backstay: Backstay, path: tuple[str, ...]) -> None:
    done = backstay(*path, "--help")
    assert done.status == 0 and not done.err
    assert done.out.startswith(f"Usage: backstay {' '.join(path)} ")
    assert f"\n    backstay {' '.join(path)}" in done.out.partition("Example")[2]
    assert backstay(*path, "-h").out == done.out


def test_the_overview_names_every_command_and_every_exit_status(backstay: Backstay) -> None:
    done = backstay("--help")
    assert done.status == 0
    for name, (_, summary) in COMMANDS.items():
        assert f"  {name} " in done.out and summary[:30] in done.out
    for status in ("0", "2", "10", "11", "12", "20", "21", "30", "130"):
        assert f" {status} " in done.out


def test_without_a_command_the_overview_is_an_error(backstay: Backstay) -> None:
    done = backstay()
    assert (done.status, done.out) == (2, "")
    assert "Commands:" in done.err


@pytest.mark.parametrize("name", COMMANDS)
def test_summaries_of_the_overview_belong_to_commands_that_say_the_same(
    backstay: Backstay, name: str
) -> None:
    first = COMMANDS[name][1].split()[0]
    assert f"\n  {first} " in backstay(name, "--help").out


def test_the_version_can_be_asked_for_in_three_ways(backstay: Backstay) -> None:
    from backstay import __version__

    for words in (["--version"], ["version"]):
        assert backstay(*words).out == f"backstay {__version__}\n"
    for words in (["--json", "--version"], ["--version", "--json"], ["version", "--json"]):
        assert backstay(*words).document == {"version": __version__}


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_the_demo_of_the_checkout_explains_itself_and_plays_nothing(word: str) -> None:
    done = subprocess.run(
        [ROOT / "dev", "demo", word], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout.startswith("usage: ./dev demo [--docker]\n") and not done.stderr
