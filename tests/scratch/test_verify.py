"""Backups of both kinds, verified by real restores; and a restored copy that an application's role can work on."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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


def made(ports: Ports, source: Server, folder: Path, kind: BackupKind) -> Backup:
    order = BackupOrder(
        "shop", "dev", Secret(source.url), folder / "b", "for a test", 10, BackupLimits(), kind=kind
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
