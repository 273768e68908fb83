"""What is seen of a migration from beside: statements with their times, strong locks, and how long visitors wait."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from backstay.adapters.docker import DockerEngine
from backstay.adapters.scratch import OpenScratches, sql
from backstay.domain.rehearsal import Blocked, Trace
from backstay.domain.secret import Secret
from backstay.ports.scratch import ScratchOrder, ScratchServer
from tests.world import World

pytestmark = pytest.mark.world


@pytest.fixture(scope="module", params=["auto", "url:SCRATCH"])
def opened(
    request: pytest.FixtureRequest, world: World, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ScratchServer]:
    """A server whose log we read, and one where we only look."""
    given = world.postgres
    url = Secret(f"postgresql://{given.superuser}:{given.password}@{given.host}:{given.port}/postgres")
    major = int(Path(given.bin_dir).parent.name)
    order = ScratchOrder("shop", "dev", f"watch-{os.getpid()}", major, request.param)
    root = tmp_path_factory.mktemp("scratch")
    with OpenScratches(root, DockerEngine(world.docker_host), {"SCRATCH": url}.get).open(order) as made:
        yield made


@pytest.fixture
def server(opened: ScratchServer) -> Iterator[ScratchServer]:
    opened.create("shop")
    sql.act(
        opened.url("shop"),
        "CREATE TABLE orders AS SELECT n AS id, 'x' AS word FROM generate_series(1, 1000) n",
        "CREATE TABLE quiet (id int)",
        "ANALYZE orders",
    )
    yield opened
    opened.drop("shop")
    opened.drop("other")


def migrating(server: ScratchServer, *statements: str, hold_s: float = 0.0) -> Trace:
    """One transaction of somebody else's, which stays open for a while before it commits."""
    with server.watch("shop") as watch:
        with psycopg.connect(server.url("shop").reveal()) as session:
            for statement in statements:
                session.execute(statement.encode())
            time.sleep(hold_s)
        return watch.trace()


def test_a_long_lock_is_seen_with_its_statement_and_what_visitors_wait(server: ScratchServer) -> None:
    began = time.monotonic()
    seen = migrating(server, "ALTER TABLE orders ADD COLUMN n int", "CREATE TABLE fresh (id int)", hold_s=2)
    took_s = time.monotonic() - began
    [lock] = seen.locks  # the new table is nobody's yet
    assert (lock.table, lock.mode, lock.blocks) == ("public.orders", "AccessExclusiveLock", Blocked.ALL)
    assert 1.6 < lock.held_s < took_s + 0.2
    assert 1.2 < lock.waited_s <= lock.held_s
    assert lock.rows == 1000
    assert "public.orders" in str(lock)


def test_writers_wait_for_an_index_and_readers_do_not(server: ScratchServer) -> None:
    seen = migrating(server, "CREATE INDEX by_word ON orders (word)", hold_s=1)
    assert [(lock.mode, lock.blocks) for lock in seen.locks] == [("ShareLock", Blocked.WRITERS)]


def test_statements_are_seen_with_times_and_errors(server: ScratchServer) -> None:
    with server.watch("shop") as watch:
        with psycopg.connect(server.url("shop").reveal(), autocommit=True) as session:
            session.execute("ALTER TABLE orders ADD COLUMN n int")
            session.execute("SELECT pg_sleep(0.2)")
            with pytest.raises(psycopg.Error):
                session.execute("CREATE UNIQUE INDEX one ON orders (word)")
        seen = watch.trace()
    if server.ours:
        assert [s.sql for s in seen.statements] == [
            "ALTER TABLE orders ADD COLUMN n int", "SELECT pg_sleep(0.2)", "CREATE UNIQUE INDEX one ON orders (word)",
        ]  # fmt: skip
        assert seen.statements[1].took_s is not None and seen.statements[1].took_s > 0.19
        assert "could not create unique index" in str(seen.statements[2].error)


def test_our_own_sessions_and_other_databases_are_not_seen(server: ScratchServer) -> None:
    server.create("other")
    sql.act(server.url("other"), "CREATE TABLE t (id int)")
    with server.watch("shop") as watch:
        sql.act(server.url("shop"), "DROP TABLE quiet")
        with psycopg.connect(server.url("other").reveal()) as session:
            session.execute("LOCK TABLE t")
            time.sleep(0.1)
        assert watch.trace() == Trace()


def test_readers_and_writers_beside_a_migration_are_not_harmed(server: ScratchServer) -> None:
    """Case 20: others are at work while the migration runs; its lock is seen, and its wait for them is no hold."""
    stop, done = threading.Event(), []

    def at_work(statement: str) -> Callable[[], None]:
        def work() -> None:
            with psycopg.connect(server.url("shop").reveal(), autocommit=True) as session:
                while not stop.is_set():
                    session.execute(statement.encode())
                    done.append(statement)

        return work

    workers = [
        threading.Thread(target=at_work(statement))
        for statement in ("SELECT count(*) FROM orders", "UPDATE orders SET word = 'y' WHERE id = 1")
    ]
    for worker in workers:
        worker.start()
    began = time.monotonic()
    try:
        seen = migrating(server, "SET lock_timeout = '2s'", "ALTER TABLE orders ADD COLUMN n int", hold_s=1.5)
    finally:
        took_s = time.monotonic() - began
        stop.set()
        for worker in workers:
            worker.join()
    assert [lock.table for lock in seen.locks] == ["public.orders"]
    assert 1.2 < seen.locks[0].held_s < took_s + 0.2
    assert len({*done}) == 2
