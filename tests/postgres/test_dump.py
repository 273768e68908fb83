"""Dumps of a real database: complete ones restore, all others leave nothing behind."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backstay.adapters.postgres import PostgresTools
from backstay.adapters.postgres import dump as dump_module
from backstay.adapters.postgres.connection import environment
from backstay.adapters.postgres.tools import find_tool
from backstay.domain.backup import BackupProgress
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError, StoreError
from backstay.ports.database import Dump, DumpOrder, NameTaken
from tests.postgres.conftest import ROWS
from tests.world import World
from tests.world.postgres import DatabaseUrls

pytestmark = pytest.mark.world
ASK = "SELECT count(*), md5(string_agg(id || name, ',' ORDER BY id)) FROM products"


def dump(url: str, folder: Path, name: str = "x", **more: Any) -> Dump:
    return PostgresTools().dump(DumpOrder(Secret(url), folder, name, **more))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def restored(world: World, url: Secret, made: Dump) -> str:
    """What the restored copy answers, by the distribution's own tools."""
    archive = subprocess.run(["zstd", "-dc", made.path], check=True, capture_output=True).stdout
    with environment(url) as env:
        subprocess.run(
            [find_tool("pg_restore"), "--no-owner", "--exit-on-error", f"--dbname={env['PGDATABASE']}"],
            input=archive, env=env, check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        return subprocess.run(
            [find_tool("psql"), "-XqAt", "-c", ASK], env=env, check=True, capture_output=True, text=True
        ).stdout


def dumps_under_way(world: World, name: str) -> int:
    return int(
        world.query(
            f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND query LIKE 'LOCK TABLE public%'"
        )
    )


def until_one_waits(world: World, name: str, then: Callable[[], bool]) -> Callable[[], bool]:
    """What to answer to "should I stop?": no until a dump waits for the lock, then what `then` says."""

    def asked() -> bool:
        return dumps_under_way(world, name) > 0 and then()

    return asked


def test_a_dump_is_whole_private_and_can_be_restored_elsewhere(
    world: World, database: DatabaseUrls, tmp_path: Path
) -> None:
    folder = tmp_path / "backups" / "dev"
    made = dump(database["host"], folder)
    data = made.path.read_bytes()
    assert (made.bytes, made.sha256, made.notes) == (len(data), hashlib.sha256(data).hexdigest(), ())
    assert names(folder) == ["x.dump.zst", "x.globals.sql", "x.manifest.json"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder.parent)} == {0o700}

    other = world.create_database(f"restored{os.getpid()}")
    try:
        assert restored(world, Secret(other["host"]), made) == world.query(ASK, database["name"])
        assert world.query(ASK, other["name"]).startswith(f"{ROWS}|")
    finally:
        world.drop_database(other["name"])


def test_the_manifest_says_what_it_is_a_backup_of(database: DatabaseUrls, tmp_path: Path) -> None:
    made = dump(database["host"], tmp_path, about={"app": "shop", "environment": "dev"})
    manifest = json.loads((tmp_path / "x.manifest.json").read_text())
    assert (manifest["format"], manifest["app"], manifest["environment"]) == (2, "shop", "dev")
    assert manifest["files"]["dump"] == {"name": "x.dump.zst", "bytes": made.bytes, "sha256": made.sha256}
    roles = (tmp_path / "x.globals.sql").read_bytes()
    assert manifest["files"]["globals"]["sha256"] == hashlib.sha256(roles).hexdigest()
    of = manifest["database"]
    assert of["database"] == database["name"] and of["server_major"] >= 13 and of["bytes"] > 1_000_000
    assert (
        of["system_identifier"].isdigit()
        and "plpgsql" in of["extensions"]
        and database["user"] in of["roles"]
    )
    assert f" {of['server_major']}." in manifest["tools"]["pg_dump"]


def test_globals_have_the_roles_without_any_password(database: DatabaseUrls, tmp_path: Path) -> None:
    dump(database["host"], tmp_path)
    roles = (tmp_path / "x.globals.sql").read_text()
    assert f"CREATE ROLE {database['user']}" in roles
    assert "SCRAM-SHA-256" not in roles and "PASSWORD" not in roles.upper().replace("--NO-ROLE-PASSWORDS", "")


def test_without_zstd_the_compression_of_pg_dump_is_used_and_that_is_told(
    database: DatabaseUrls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump_module, "find_compressor", lambda: None)
    made = dump(database["host"], tmp_path)
    assert made.path.name == "x.dump"
    assert made.notes == ("zstd is not installed: pg_dump's own gzip was used, which takes longer",)
    listed = subprocess.run(
        [find_tool("pg_restore"), "-f", "-", made.path], check=True, capture_output=True, text=True
    )
    assert f"{ROWS}\tTür {ROWS}" in listed.stdout


def test_progress_is_told(database: DatabaseUrls, tmp_path: Path) -> None:
    told: list[BackupProgress] = []
    dump(database["host"], tmp_path, tell=told.append)
    assert told and told[0].database_bytes > 1_000_000


def test_nobody_writes_over_a_backup_that_is_there(database: DatabaseUrls, tmp_path: Path) -> None:
    first = dump(database["host"], tmp_path).path.read_bytes()
    with pytest.raises(NameTaken):
        dump(database["host"], tmp_path)
    assert (tmp_path / "x.dump.zst").read_bytes() == first
    assert names(tmp_path) == ["x.dump.zst", "x.globals.sql", "x.manifest.json"]


def test_discarding_takes_all_three_files_and_nothing_else(database: DatabaseUrls, tmp_path: Path) -> None:
    one, two = (dump(database["host"], tmp_path, name) for name in ("one", "two"))
    tools = PostgresTools()
    assert tools.size_of(one.path) == one.bytes
    tools.discard(one.path)
    tools.discard(one.path)
    assert names(tmp_path) == ["two.dump.zst", "two.globals.sql", "two.manifest.json"]
    assert (tools.size_of(one.path), tools.size_of(two.path)) == (None, two.bytes)


def test_the_password_is_in_no_argument_and_no_environment_while_it_runs(
    world: World, blocked: DatabaseUrls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []

    def look() -> bool:
        for entry in Path("/proc").glob("[0-9]*"):
            words = _read(entry / "cmdline")
            environ = _read(entry / "environ")
            if f"PGDATABASE={blocked['name']}".encode() in environ and b"pg_dump" in words:
                seen.append(words + b"\0" + environ)
            elif b"zstd" in words and b"-T0" in words and _parent(entry) == os.getpid():
                seen.append(words + b"\0PGPASSFILE=none\0" + environ)
        return True

    monkeypatch.setenv("BACKSTAY_DATABASE_URL", blocked["host"])
    monkeypatch.setenv("DATABASE_URL", blocked["host"])
    with pytest.raises(DatabaseError):
        dump(blocked["host"], tmp_path, stopped=until_one_waits(world, blocked["name"], look))
    assert len(seen) >= 2 and all(b"PGPASSFILE=" in process for process in seen)
    assert not any(blocked["password"].encode() in process for process in seen)


def test_stopped_on_request_it_ends_at_once_and_leaves_no_file(
    world: World, blocked: DatabaseUrls, tmp_path: Path
) -> None:
    began = time.monotonic()
    with pytest.raises(DatabaseError, match="stopped on request"):
        dump(blocked["host"], tmp_path, stopped=until_one_waits(world, blocked["name"], lambda: True))
    assert time.monotonic() - began < 10
    assert list(tmp_path.iterdir()) == []


def test_when_asking_whether_to_stop_fails_the_dump_ends_too(
    world: World, blocked: DatabaseUrls, tmp_path: Path
) -> None:
    def fails() -> bool:
        raise StoreError("the store is gone")

    began = time.monotonic()
    with pytest.raises(StoreError):
        dump(blocked["host"], tmp_path, stopped=until_one_waits(world, blocked["name"], fails))
    assert time.monotonic() - began < 10
    assert list(tmp_path.iterdir()) == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _parent(process: Path) -> int | None:
    fields = _read(process / "stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields else None
