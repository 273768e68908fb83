"""The runbook of a restore on a real server of its own; engine and router are doubles."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backstay.adapters.postgres import PostgresClusters, PostgresTools
from backstay.adapters.scratch import OpenScratches
from backstay.adapters.store import open_store
from backstay.domain.backup import Backup, BackupKind, BackupLimits, BackupState
from backstay.domain.restore import Mark, Role, renamed
from backstay.domain.secret import Secret
from backstay.errors import BackupFailed
from backstay.pipeline.backup import back_up, order_of
from backstay.pipeline.elsewhere import ElsewhereOrder, restore_elsewhere
from backstay.pipeline.extract import ExtractOrder, as_logical
from backstay.pipeline.verify import VerifyOrder
from backstay.ports.router import Hold
from backstay.testing import FakeClock, FakeSecrets
from tests.pipeline.conftest import Town
from tests.postgres.server import Server
from tests.world import World
from tests.world.processes import wait_until

pytestmark = pytest.mark.world
ROWS = """
CREATE TABLE orders AS SELECT n AS id, md5(n::text) AS token FROM generate_series(1, 2000) n;
ALTER TABLE orders ADD PRIMARY KEY (id);
CREATE TABLE notes (note text);
"""


def quiet(kind: str, message: str, **data: object) -> None:
    return None


@dataclass
class RealTown(Town):
    """A town whose database is real."""

    url: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.secrets = FakeSecrets(DATABASE_URL=self.url, KEY="k-123456")
        self.database: Any = PostgresTools()
        self.clusters: Any = PostgresClusters()
        self.scratches: Any = OpenScratches(self.folder / "scratch", self.engine)

    def ask(self, query: str, database: str = "shop") -> list[tuple[Any, ...]]:
        with psycopg.connect(renamed(Secret(self.url), database).reveal(), autocommit=True) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def back_up(self, kind: BackupKind) -> Backup:
        order = replace(order_of(self.environment, Secret(self.url), "test"), kind=kind)
        return back_up(self.world, order, self.store.record_backup, quiet)

    def extract(self, backup: Backup) -> Backup:
        wanted = order_of(self.environment, Secret(self.url), "by hand")
        return as_logical(
            self.world, backup, ExtractOrder(VerifyOrder("auto", BackupLimits()), wanted), quiet
        )

    @property
    def beside(self) -> list[str]:
        rows = self.ask("SELECT datname FROM pg_database WHERE datname LIKE 'shop\\_%' ORDER BY 1")
        return [str(row[0]) for row in rows]


@pytest.fixture(scope="module")
def source(world: World) -> Iterator[Server]:
    with Server(world.postgres, connections=40, senders=4) as made:
        yield made


@pytest.fixture
def town(source: Server, tmp_path: Path) -> Iterator[RealTown]:
    """v1 is live on a database of 2000 orders."""
    source.query("CREATE DATABASE shop TEMPLATE template0")
    clock = FakeClock()
    store = open_store(tmp_path / "state.db", clock=clock)
    made = RealTown(store, tmp_path, clock, url=renamed(Secret(source.url), "shop").reveal())
    made.ask(ROWS)
    assert made.deploy("v1").exit_status == 0
    yield made
    store.close()
    for name in ["shop", *made.beside]:
        source.query(f'DROP DATABASE "{name}" WITH (FORCE)')


def test_a_restore_of_a_dump_counts_swaps_and_keeps(town: RealTown) -> None:
    made = town.back_up(BackupKind.LOGICAL)
    town.ask(
        "DELETE FROM orders WHERE id <= 3; UPDATE orders SET token = 'x' WHERE id = 10; INSERT INTO notes VALUES ('n')"
    )
    refused = town.restore(made.id, accept_loss=5)
    assert refused.exit_status == 30 and "would change 6 rows" in (refused.reason or "")
    assert town.ask("SELECT count(*) FROM orders") == [(1997,)] and town.beside == []
    assert town.restore(made.id, accept_loss=6).exit_status == 0
    assert town.ask("SELECT count(*), sum(id) FROM orders") == [(2000, 2001000)]
    assert town.beside == ["shop_before_d3"] and town.router.holds == [Hold.ALL, None]


def test_a_physical_backup_is_restored_in_place_and_elsewhere(town: RealTown, source: Server) -> None:
    whole = town.back_up(BackupKind.PHYSICAL)
    made = town.extract(whole)
    town.ask("INSERT INTO notes VALUES ('late')")
    done = town.restore(made.id, accept_loss=1)
    assert done.exit_status == 0, done.reason
    assert town.ask("SELECT count(*) FROM orders") == [(2000,)] and town.ask(
        "SELECT count(*) FROM notes"
    ) == [(0,)]
    [entry] = [row for row in town.store.backups("shop", "dev") if row.id == whole.id]
    assert entry.state is BackupState.VERIFIED, "starting a server on it was its verification"
    assert town.restore(whole.id).failed_step == "restore", "a whole server is no dump"
    source.query("CREATE DATABASE shop_elsewhere")
    into = renamed(Secret(town.url), "shop_elsewhere")
    proof = restore_elsewhere(town.world, made, ElsewhereOrder(into, BackupLimits()))
    assert proof.ok and proof.rows == 2000
    with pytest.raises(BackupFailed, match="is not empty"):
        restore_elsewhere(town.world, made, ElsewhereOrder(into, BackupLimits()))
    assert list((town.folder / "scratch").iterdir()) == []


def test_a_backup_under_way_when_the_database_is_swapped_fails_cleanly_and_the_swap_does_not(
    town: RealTown,
) -> None:
    """Case 14: the dump waits for a table that somebody holds locked; the swap ends both."""
    said: list[str] = []

    def dump() -> None:
        with pytest.raises(BackupFailed) as caught:
            town.back_up(BackupKind.LOGICAL)
        said.append(caught.value.message)

    cluster = town.clusters.at(Secret(town.url), "d9")
    before = Mark("shop", "dev", "d9", Role.BEFORE, "shop", "2026-11-23T10:00:00.000Z")
    restored = replace(before, role=Role.RESTORED)
    cluster.create(restored)
    with _locked(town, "orders"):
        thread = threading.Thread(target=dump)
        thread.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        assert wait_until(lambda: town.ask(waiting, "postgres") != [(0,)], 15)
        ended = cluster.swap(restored.name, before, None, 30)
        thread.join(30)
    assert "pg_dump" in " ".join(str(visitor) for visitor in ended) or len(ended) >= 2
    assert len(said) == 1
    rows = town.store.backups("shop", "dev")
    assert [row.state for row in rows if row.reason.startswith("test")] == [BackupState.FAILED]
    assert town.ask("SELECT to_regclass('orders') IS NULL") == [(True,)], "the swap went on"


def test_a_migration_in_maintenance_is_taken_back_on_a_real_server(town: RealTown) -> None:
    run = town.engine.run

    def migrating(spec: Any) -> Any:
        if "migrate" in spec.name:
            town.ask("ALTER TABLE orders DROP COLUMN token; DROP TABLE notes; INSERT INTO orders VALUES (0)")
        return run(spec)

    town.engine.run = migrating  # type: ignore[method-assign]
    town.engine.exit_codes["migrate"] = 1
    ended = town.deploy("v2", maintenance=True)
    assert ended.exit_status == 20 and ended.failed_step == "migrate"
    assert town.ask("SELECT count(token), sum(id) FROM orders") == [(2000, 2001000)]
    assert town.ask("SELECT count(*) FROM notes") == [(0,)]
    assert town.beside == ["shop_failed_d2"], "what the migration left is kept"
    assert town.serving == {"backend": "v1", "frontend": "v1"} and town.router.held is None


@contextmanager
def _locked(town: RealTown, table: str) -> Iterator[None]:
    with psycopg.connect(town.url) as connection:
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        try:
            yield
        finally:
            connection.close()
