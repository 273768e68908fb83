"""Finding tools of the right version, and what is said about one that fails; no database needed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from backstay.adapters.postgres import PostgresTools
from backstay.adapters.postgres import tools as tools_module
from backstay.adapters.postgres.facts import facts_of
from backstay.adapters.postgres.tools import failed, find_tool, find_tool_of, major_of
from backstay.domain.backup import BackupLimits
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError
from backstay.ports.database import Dump, DumpOrder
from tests.postgres.conftest import tool

URL = Secret("postgresql://u:hidden-one@127.0.0.1:1/shop")
FACTS = {
    "server_version": "15.4", "server_major": 15, "database": "shop", "bytes": 7_000_000, "encoding": "UTF8",
    "collation": "C.UTF-8", "extensions": {"plpgsql": "1.0"}, "roles": ["shop"],
}  # fmt: skip


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which Debian would have a folder for each version."""
    folder = tmp_path / "postgresql"
    monkeypatch.setattr(tools_module, "DEBIAN_BINARIES", folder)
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/bin:/usr/bin")
    return folder


@pytest.fixture
def installed(debian: Path) -> Callable[[str], None]:
    """Installs tools of version 15 around a server of that version; only `pg_dump` does what it is told."""

    def install(script: str, server_major: int = 15) -> None:
        folder = debian / "15" / "bin"
        answer = json.dumps({**FACTS, "server_major": server_major})
        tool(folder, f"echo 7711\necho '{answer}'", "psql")
        tool(folder, "echo 'CREATE ROLE shop;'", "pg_dumpall")
        tool(folder, script)

    return install


def dump(folder: Path, stall_s: float = 300, deadline_s: float = 300) -> Dump:
    limits = BackupLimits(deadline_s, stall_s)
    return PostgresTools().dump(DumpOrder(URL, folder, "x", limits=limits, checksums=False))


class TestFinding:
    def test_the_newest_version_wins_by_number(self, debian: Path) -> None:
        for version in ("9", "15", "bad"):
            tool(debian / version / "bin", "true")
        tool(debian / "17" / "bin", "true", "psql")
        assert find_tool("pg_dump") == str(debian / "15" / "bin" / "pg_dump")

    def test_without_debian_packages_the_path_is_searched(self, debian: Path, tmp_path: Path) -> None:
        made = tool(tmp_path / "path", "true", "pg_something")
        assert find_tool("pg_something") == str(made)

    def test_a_missing_tool_is_told_with_the_cure(self, debian: Path) -> None:
        with pytest.raises(DatabaseError, match="pg_nothing is not installed") as missing:
            find_tool("pg_nothing")
        assert missing.value.hint == "apt-get install postgresql-client"

    @pytest.mark.parametrize("major", [13, 15, 17])
    def test_the_servers_major_version_is_taken_not_the_newest(self, debian: Path, major: int) -> None:
        for each in (13, 15, 17):
            tool(debian / str(each) / "bin", "true", major=each)
        assert find_tool_of("pg_dump", major) == str(debian / str(major) / "bin" / "pg_dump")

    def test_the_path_is_taken_when_its_version_is_right(self, debian: Path, tmp_path: Path) -> None:
        tool(debian / "17" / "bin", "true", major=17)
        made = tool(tmp_path / "path", "true", major=16)
        assert find_tool_of("pg_dump", 16) == str(made)

    def test_no_tool_of_that_version_is_refused_with_the_package(self, debian: Path) -> None:
        for each in (13, 15):
            tool(debian / str(each) / "bin", "true", "pg_weird", major=each)
        with pytest.raises(DatabaseError) as refused:
            find_tool_of("pg_weird", 17)
        assert refused.value.message == (
            "the server is PostgreSQL 17 and needs the pg_weird of that version, but only version 15, 13 is"
            " installed here"
        )
        assert (refused.value.hint or "").startswith("apt-get install postgresql-client-17 ")

    @pytest.mark.parametrize(
        ("said", "major"),
        [
            ("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", 15),
            ("pg_dump (PostgreSQL) 18beta1", 18),
            ("pg_dump (PostgreSQL) 17", 17),
            ("", 0),
        ],
    )
    def test_versions(self, said: str, major: int) -> None:
        assert major_of(said) == major


class TestFacts:
    def test_with_and_without_the_right_to_ask_for_the_identifier(self) -> None:
        assert facts_of(f"7711\n{json.dumps(FACTS)}\n").system_identifier == "7711"
        assert facts_of(json.dumps(FACTS)).system_identifier is None

    @pytest.mark.parametrize("said", ["", "hello", "[]", "{}", '{"roles": null}'])
    def test_any_other_answer_is_refused(self, said: str) -> None:
        with pytest.raises(DatabaseError, match="something else"):
            facts_of(said)


FAILURES = {
    "with a reason": ("echo 'pg_dump: error: no' >&2; exit 1", "^pg_dump failed: no$"),
    "without a word": ("exit 3", "pg_dump failed: exit status 3"),
    "killed": ("kill -9 $$", "pg_dump failed: was killed by signal 9"),
    "killed after half of it": ("printf PGDMPhalf; kill -9 $$", "pg_dump failed: was killed by signal 9"),
    "empty": ("true", "ended well, but wrote no archive"),
    "no archive": ("echo 'select 1;'", "ended well, but wrote no archive"),
    "talkative": ("yes 'pg_dump: warning: odd' | head -c 300000 >&2; exit 1", "pg_dump: warning: odd"),
    "with the password": ("echo 'no entry for hidden-one' >&2; exit 1", r"no entry for \[redacted\]"),
}


class TestFailing:
    @pytest.mark.parametrize("how", FAILURES)
    def test_a_failing_dump_leaves_no_file(
        self, installed: Callable[[str], None], tmp_path: Path, how: str
    ) -> None:
        script, message = FAILURES[how]
        installed(script)
        with pytest.raises(DatabaseError, match=message) as told:
            dump(tmp_path / "out")
        assert "hidden-one" not in f"{told.value} {told.value.message} {told.value.hint}"
        assert list((tmp_path / "out").iterdir()) == []

    def test_a_good_one_leaves_three(self, installed: Callable[[str], None], tmp_path: Path) -> None:
        installed("printf PGDMPwhole")
        assert dump(tmp_path / "out").bytes > 0
        assert len(list((tmp_path / "out").iterdir())) == 3

    def test_a_newer_server_is_refused_before_anything_is_dumped(
        self, installed: Callable[[str, int], None], tmp_path: Path
    ) -> None:
        installed("touch $(dirname $0)/was-run; printf PGDMPwhole", 99)
        with pytest.raises(DatabaseError, match=r"the server is PostgreSQL 99 .* only version 15"):
            dump(tmp_path / "out")
        assert not list(tmp_path.rglob("was-run"))

    def test_a_dump_that_does_not_grow_is_taken_for_hung(
        self, installed: Callable[[str], None], tmp_path: Path
    ) -> None:
        installed("printf PGDMP; exec sleep 60")
        with pytest.raises(DatabaseError, match=r"no progress for 0\.3 s") as told:
            dump(tmp_path / "out", stall_s=0.3)
        assert "policy.backup_stall" in (told.value.hint or "")
        assert list((tmp_path / "out").iterdir()) == []

    def test_a_dump_that_goes_on_and_on_ends_at_its_deadline(
        self, installed: Callable[[str], None], tmp_path: Path
    ) -> None:
        installed("printf PGDMP; while :; do echo more; sleep 0.05; done")
        with pytest.raises(DatabaseError, match=r"not done after 0\.6 s") as told:
            dump(tmp_path / "out", stall_s=60, deadline_s=0.6)
        assert "policy.backup_deadline" in (told.value.hint or "")
        assert list((tmp_path / "out").iterdir()) == []

    @pytest.mark.parametrize(
        ("script", "message"),
        [
            ("echo 'zstd: error: out of memory' >&2; exit 70", "^zstd failed: out of memory$"),
            ("head -c 3 >/dev/null; kill -9 $$", "zstd failed: was killed by signal 9"),
        ],
    )
    def test_a_broken_compressor_is_named_and_not_the_pg_dump_before_it(
        self, installed: Callable[[str], None], tmp_path: Path, script: str, message: str
    ) -> None:
        installed("printf PGDMP; yes | head -c 9000000")
        tool(tmp_path / "path", script, "zstd")
        with pytest.raises(DatabaseError, match=message):
            dump(tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []

    def test_missing_globals_cost_a_note_and_not_the_backup(
        self, installed: Callable[[str], None], debian: Path, tmp_path: Path
    ) -> None:
        installed("printf PGDMPwhole")
        tool(debian / "15" / "bin", "echo 'permission denied for table pg_authid' >&2; exit 1", "pg_dumpall")
        made = dump(tmp_path / "out")
        [settings, globals_] = made.notes  # no server is there to tell of the former
        assert settings.startswith("without the settings of the database: ")
        assert globals_ == "without globals: pg_dumpall failed: permission denied for table pg_authid"
        manifest = json.loads((tmp_path / "out" / "x.manifest.json").read_text())
        assert set(manifest["files"]) == {"dump"} and manifest["notes"] == list(made.notes)
        assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        ("FATAL:  sorry, too many clients already", "max_connections"),
        ('FATAL:  database "x" does not exist', "database URL"),
        ("permission denied for table orders", "pg_read_all_data"),
        ("canceling statement due to statement timeout", "pg_locks"),
        ("connection refused", "listen_addresses"),
    ],
)
def test_every_failure_has_a_cure(words: str, cure: str) -> None:
    assert cure in (failed("pg_dump", 1, words.encode()).hint or "")
