"""Backups of both kinds, verified by real restores; and a restored copy that an application's role can work on."""

from __future__ import annotations

import select
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from backstay.adapters.clock import SystemClock
from backstay.adapters.docker import DockerEngine
from backstay.adapters.postgres import PostgresTools
from backstay.adapters.scratch import OpenScratches, sql
from backstay.adapters.store import open_store
from backstay.domain.backup import Backup, BackupKind, BackupLimits, BackupState
from backstay.domain.secret import Secret
from backstay.pipeline.backup import BackupOrder, back_up
from backstay.pipeline.verify import VerifyOrder, restored, scratch_order, verify
from backstay.ports.scratch import ScratchServer
from backstay.ports.store import Store
from tests.postgres.server import Server
from tests.world import World

pytestmark = pytest.mark.world
ORDER = VerifyOrder("auto", BackupLimits(), analyze=True)
TABLES = """
CREATE ROLE shop LOGIN PASSWORD 'theirs';
CREATE TABLE orders AS SELECT n AS id, md5(n::text) AS token FROM generate_series(1, 20000) n;
ALTER TABLE orders OWNER TO shop;
CREATE INDEX by_token ON orders (token);
"""


@dataclass
class Ports:
    store: Store
    database: PostgresTools
    scratches: OpenScratches
    clock: SystemClock


@pytest.fixture(scope="module")
def source(world: World) -> Iterator[Server]:
    with Server(world.postgres, connections=12, senders=4) as made:
        made.query(TABLES)
        yield made


@pytest.fixture
def ports(world: World, tmp_path: Path) -> Iterator[Ports]:
    store = open_store(tmp_path / "state.db", clock=SystemClock())
    scratches = OpenScratches(tmp_path / "scratch", DockerEngine(world.docker_host))
    yield Ports(store, PostgresTools(), scratches, SystemClock())
    store.close()
    assert list((tmp_path / "scratch").iterdir()) == []


def made(ports: Ports, source: Server, folder: Path, kind: BackupKind, url: str = "") -> Backup:
    order = BackupOrder(
        "shop", "dev", Secret(url or source.url), folder / "b", "for a test", 10, BackupLimits(), kind=kind
    )
    return back_up(ports, order, ports.store.record_backup, lambda kind, message, **data: None)


@pytest.mark.parametrize("kind", list(BackupKind))
def test_a_backup_is_proven_and_its_copy_is_the_applications(
    ports: Ports, source: Server, tmp_path: Path, kind: BackupKind
) -> None:
    backup = made(ports, source, tmp_path, kind)
    with restored(ports, backup, scratch_order(backup, "auto"), ORDER) as copy:
        assert (copy.verification.ok, copy.verification.kind) == (True, kind)
        assert copy.verification.rows >= 20000
        assert copy.has_roles
        copy.server.adopt_role("shop", copy.database, owns=kind is BackupKind.LOGICAL)
        theirs = copy.server.url(copy.database, "shop")
        sql.act(theirs, "ALTER TABLE orders ADD COLUMN n int")
        assert sql.rows(theirs, "SELECT count(*), count(n) FROM orders") == [(20000, 0)]
    [entry] = ports.store.backups("shop", "dev")
    assert entry.state is BackupState.VERIFIED
    assert entry.verified_at


SETTINGS = """
CREATE SCHEMA app AUTHORIZATION shop; CREATE TABLE app.t AS SELECT 1 AS n; ALTER TABLE app.t OWNER TO shop;
ALTER DATABASE shop SET search_path TO app, public;
ALTER DATABASE shop SET default_transaction_read_only TO on;
ALTER DATABASE shop SET log_min_messages TO panic;
ALTER DATABASE shop SET session_preload_libraries TO '{library}';
ALTER ROLE shop IN DATABASE shop SET statement_timeout TO '3s';
ALTER ROLE shop IN DATABASE shop SET log_statement TO none;
REVOKE ALL ON DATABASE shop FROM PUBLIC; GRANT CONNECT ON DATABASE shop TO shop;
COMMENT ON DATABASE shop IS 'the shop''s'
"""
SEEN = """
SELECT current_setting('search_path'), current_setting('default_transaction_read_only'),
  current_setting('statement_timeout'), count(*) FROM t"""
BESIDE = """
SELECT shobj_description(oid, 'pg_database'), has_database_privilege('pg_monitor', oid, 'CONNECT')
FROM pg_database WHERE datname = current_database()"""


def test_a_copy_has_the_settings_of_the_database(ports: Ports, world: World, tmp_path: Path) -> None:
    with Server(world.postgres, connections=12) as source:
        library = source.folder / "library.so"
        shutil.copy(Path(world.postgres.bin_dir).parent / "lib" / "auto_explain.so", library)
        source.query("CREATE ROLE shop LOGIN; CREATE DATABASE shop OWNER shop")
        source.query(SETTINGS.format(library=library), "shop")
        backup = made(ports, source, tmp_path, BackupKind.LOGICAL, source.url_of("shop"))
        library.unlink()  # with which nobody is let in any more
        with restored(ports, backup, scratch_order(backup, "auto"), ORDER) as copy:
            server, name = copy.server, copy.database
            assert copy.verification.ok
            [note] = copy.verification.notes
            assert "the setting session_preload_libraries in the database was left out" in note
            assert sql.rows(server.url(name), BESIDE) == [("the shop's", False)]
            server.adopt_role("shop", name)
            assert server.cut_off(name, "shop") == ()
            assert server.keep(name) == "template"
            _is_the_applications(server, name)
            assert server.go_back(name)
            _is_the_applications(server, name)


def _is_the_applications(server: ScratchServer, name: str) -> None:
    """The application's sessions see what they see in production, and ours see what they do."""
    with server.watch(name) as watch:
        with psycopg.connect(server.url(name, "shop").reveal()) as theirs:
            assert theirs.execute(SEEN.encode()).fetchall() == [("app, public", "on", "3s", 1)]
            theirs.rollback()
            theirs.execute("BEGIN READ WRITE; ALTER TABLE t ADD COLUMN m int; COMMIT")
        assert "ALTER TABLE t" in watch.trace().statements[0].sql


@pytest.fixture
def publisher() -> Iterator[socket.socket]:
    """A place where nobody answers, but is seen to knock."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_a_copied_server_follows_no_publisher_and_starts_with_prepared_transactions(
    ports: Ports, world: World, tmp_path: Path, publisher: socket.socket
) -> None:
    with Server(world.postgres, connections=12, senders=4) as source:
        source.query("ALTER SYSTEM SET max_prepared_transactions = 10")
        source.query("ALTER SYSTEM SET max_logical_replication_workers = 0")  # the original keeps still
        source.stop()
        source.start()
        source.query("CREATE TABLE t (n int)")
        for number in range(3):
            source.query(f"BEGIN; INSERT INTO t VALUES ({number}); PREPARE TRANSACTION 'p{number}'")
        port = publisher.getsockname()[1]
        source.query(
            f"CREATE SUBSCRIPTION fed CONNECTION 'host=127.0.0.1 port={port}' PUBLICATION p"
            " WITH (connect = false, slot_name = fed)"
        )
        source.query("ALTER SUBSCRIPTION fed ENABLE")
        backup = made(ports, source, tmp_path, BackupKind.PHYSICAL)
        with restored(ports, backup, scratch_order(backup, "auto"), ORDER) as copy:
            url = copy.server.url(copy.database)
            assert copy.verification.ok
            assert sql.rows(url, "SELECT count(*) FROM pg_prepared_xacts") == [(3,)]
            assert sql.rows(url, "SELECT subname FROM pg_subscription WHERE subenabled") == [("fed",)]
            assert select.select([publisher], [], [], 2) == ([], [], [])
            copy.server.cut_off(copy.database)
            assert sql.rows(url, "SELECT count(*) FROM pg_prepared_xacts") == [(0,)]
            sql.act(url, "DROP SUBSCRIPTION fed")
            assert copy.server.keep(copy.database) == "template"
            assert select.select([publisher], [], [], 0) == ([], [], [])


def test_a_physical_backup_that_was_changed_never_starts(
    ports: Ports, source: Server, tmp_path: Path
) -> None:
    backup = made(ports, source, tmp_path, BackupKind.PHYSICAL)
    [file] = Path(backup.path).glob("base.tar.zst")
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 1
    file.write_bytes(whole)
    found = verify(ports, backup, ORDER)
    assert found.state is BackupState.DAMAGED
    assert "base.tar.zst" in str(found.reason)
    assert ports.store.backups("shop", "dev")[0].state is BackupState.DAMAGED
