"""Finding PostgreSQL's tools, and what is said about one that fails; no database needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from backstay.adapters.postgres import PostgresTools
from backstay.adapters.postgres import dump as dump_module
from backstay.adapters.postgres.dump import find_tool
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError

URL = Secret("postgresql://u:hidden@127.0.0.1:1/shop")


def tool(folder: Path, script: str, name: str = "pg_dump") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "postgresql"
    monkeypatch.setattr(dump_module, "DEBIAN_BINARIES", folder)
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/bin:/usr/bin")
    return folder


def test_the_newest_version_wins_by_number(debian: Path) -> None:
    for version in ("9", "15", "bad"):
        tool(debian / version / "bin", "true")
    tool(debian / "17" / "bin", "true", "psql")
    assert find_tool("pg_dump") == str(debian / "15" / "bin" / "pg_dump")


def test_without_debian_packages_the_path_is_searched(debian: Path, tmp_path: Path) -> None:
    made = tool(tmp_path / "path", "true", "pg_something")
    assert find_tool("pg_something") == str(made)


def test_a_missing_tool_is_told_with_the_cure(debian: Path) -> None:
    with pytest.raises(DatabaseError, match="pg_nothing is not installed") as missing:
        find_tool("pg_nothing")
    assert missing.value.hint == "apt-get install postgresql-client"


FAILURES = {
    "with a reason": ("echo 'pg_dump: error: no' >&2; exit 1", "pg_dump failed: pg_dump: error: no"),
    "without a word": ("exit 3", "pg_dump failed: exit status 3"),
    "killed": ("kill -9 $$", "pg_dump failed: exit status -9"),
    "empty": ("true", "pg_dump wrote an empty file"),
    "talkative": ("yes 'pg_dump: warning: odd' | head -c 300000 >&2; exit 1", "pg_dump: warning: odd"),
}


@pytest.mark.parametrize("how", FAILURES)
def test_a_failing_dump_leaves_no_file(debian: Path, tmp_path: Path, how: str) -> None:
    script, message = FAILURES[how]
    tool(debian / "15" / "bin", script)
    with pytest.raises(DatabaseError, match=message):
        PostgresTools().dump(URL, tmp_path / "out" / "x.dump", lambda: False)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_dump_that_does_not_grow_is_taken_for_hung(
    debian: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump_module, "NO_PROGRESS_S", 0.2)
    tool(debian / "15" / "bin", "exec sleep 60")
    with pytest.raises(DatabaseError, match=r"no progress for 0\.2 s"):
        PostgresTools().dump(URL, tmp_path / "x.dump", lambda: False)
    assert not list(tmp_path.glob("x.dump*"))
