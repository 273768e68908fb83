"""The runbook of a restore on a real server of its own; engine and router are doubles."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backstay.adapters.postgres import PostgresClusters, PostgresTools
from backstay.adapters.postgres.manifest import manifest_path, sealed
from backstay.adapters.scratch import OpenScratches
from backstay.adapters.store import open_store
from backstay.domain.backup import Backup, BackupKind, BackupLimits, BackupState
from backstay.domain.restore import Mark, Role, renamed
from backstay.domain.secret import Secret
from backstay.domain.verification import Verification
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


SETTINGS = """
CREATE SCHEMA app; CREATE TABLE app.t AS SELECT 1 AS n;
ALTER DATABASE shop SET search_path TO app, public; ALTER DATABASE shop SET statement_timeout TO '1h';
ALTER ROLE clerk IN DATABASE shop SET work_mem TO '9MB';
REVOKE ALL ON DATABASE shop FROM PUBLIC; GRANT CONNECT ON DATABASE shop TO clerk WITH GRANT OPTION;
COMMENT ON DATABASE shop IS 'the shop''s'
"""
BESIDE = """
SELECT current_setting('search_path'), current_setting('statement_timeout'), shobj_description(oid, 'pg_database'),
  has_database_privilege('pg_monitor', oid, 'CONNECT'),
  has_database_privilege('clerk', oid, 'CONNECT WITH GRANT OPTION'),
  (SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = d.oid AND setrole = 'clerk'::regrole)
FROM pg_database d WHERE datname = current_database()"""
THEIRS = ("app, public", "1h", "the shop's", False, True, ["work_mem=9MB"])
OTHERS = ("app, public", "1h", "the shop's", True, False, None)
NONE = ('"$user", public', "0", None, True, False, None)


@pytest.fixture
def elsewhere(town: RealTown, source: Server) -> Iterator[Callable[[Backup], Verification]]:
    """Restores into an empty database, shop_elsewhere. There is a role clerk."""
    source.query("CREATE ROLE clerk")

    def restore(backup: Backup) -> Verification:
        source.query("DROP DATABASE IF EXISTS shop_elsewhere")
        source.query("CREATE DATABASE shop_elsewhere TEMPLATE template0")
        into = renamed(Secret(town.url), "shop_elsewhere")
        return restore_elsewhere(town.world, backup, ElsewhereOrder(into, BackupLimits()))

    yield restore
    source.query("DROP DATABASE IF EXISTS shop_elsewhere")
    source.query("REVOKE ALL ON DATABASE shop FROM clerk; DROP ROLE clerk")


def test_elsewhere_a_database_has_its_settings_rights_and_comment(
    town: RealTown, source: Server, elsewhere: Callable[[Backup], Verification]
) -> None:
    town.ask(SETTINGS)
    made = town.back_up(BackupKind.LOGICAL)
    assert elsewhere(made).notes == ()
    assert town.ask(BESIDE, "shop_elsewhere") == [THEIRS]
    # On a server without that role everything belongs to ours.
    source.query("DROP DATABASE shop_elsewhere")
    source.query("REVOKE ALL ON DATABASE shop FROM clerk; DROP ROLE clerk")
    note = "the setting work_mem of clerk in the database was left out: there is no such role"
    assert elsewhere(made).notes == (note,)
    source.query("CREATE ROLE clerk")
    assert town.ask(BESIDE, "shop_elsewhere") == [OTHERS]


def test_what_is_taken_out_of_a_physical_backup_has_the_settings(
    town: RealTown, elsewhere: Callable[[Backup], Verification]
) -> None:
    town.ask(SETTINGS)
    assert elsewhere(town.extract(town.back_up(BackupKind.PHYSICAL))).notes == ()
    [found] = town.ask(BESIDE, "shop_elsewhere")
    assert (*found[:3], found[-1]) == (*THEIRS[:3], THEIRS[-1])


def test_a_backup_from_before_its_settings_were_taken_is_restored(
    town: RealTown, elsewhere: Callable[[Backup], Verification]
) -> None:
    town.ask(SETTINGS)
    made = town.back_up(BackupKind.LOGICAL)
    manifest = manifest_path(Path(made.path))
    document = json.loads(manifest.read_text())
    del document["seal"], document["properties"]
    manifest.write_bytes(sealed(document))
    proof = elsewhere(made)
    assert (proof.ok, proof.notes) == (True, ())
    assert town.ask(BESIDE, "shop_elsewhere") == [NONE]


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
