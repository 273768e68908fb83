"""A store on a server: every write once, whatever happens to the server and the connection."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backstay import wiring
from backstay.adapters.store import SqlStore, open_reader, open_store
from backstay.adapters.store.server import patience
from backstay.adapters.store.server.connection import StoreConnection, open_connections
from backstay.adapters.store.server.writing import ServerDatabase
from backstay.domain.deployment import DeploymentState, Wish
from backstay.domain.lease import Lease
from backstay.domain.notification import Delivery
from backstay.domain.step import StepState, Telling
from backstay.errors import StoreError
from tests.postgres.server import PASSWORD, Server
from tests.store import samples
from tests.store.samples import APP, ENV, begun, owner, raw
from tests.store.wire import Loss, Wire

pytestmark = pytest.mark.world

Act = Callable[[SqlStore, Lease], object]

WRITES: dict[str, Act] = {
    "begin": lambda store, lease: begun(store, "d2", "v2", replaces=lease),
    "record_refused": lambda store, lease: store.record_refused(samples.deployment("d2"), None, samples.environment()),
    "take_lease": lambda store, lease: store.take_lease(APP, "uat", owner(), "x", None),
    "correct_lease": lambda store, lease: store.correct_lease(lease),
    "adopt": lambda store, lease: store.adopt(lease, owner(pid=5000)),
    "heartbeat": lambda store, lease: store.heartbeat(lease),
    "release_lease": lambda store, lease: store.release_lease(lease),
    "move": lambda store, lease: store.move(lease.token, "d1", DeploymentState.FAILED),
    "step": lambda store, lease: store.step(
        lease.token, "d1", "check", StepState.STARTED, telling=Telling("step_started", "Checking")
    ),
    "tell": lambda store, lease: store.tell(lease.token, "d1", "told", "hello"),
    "save_slots": lambda store, lease: store.save_slots(lease.token, APP, ENV, samples.slots()),
    "record_backup": lambda store, lease: store.record_backup(samples.backup()),
    "ask": lambda store, lease: store.ask("d1", Wish.ABORT),
    "notify": lambda store, lease: len(store.notify(APP, ENV, "success", "all", "hello", [])),
    "claim_notification": lambda store, lease: store.claim_notification(APP, ("",), "me"),
    "settle_notification": lambda store, lease: store.settle_notification(1, "me", Delivery()),
}  # fmt: skip

TABLES = ("releases", "deployments", "steps", "events", "leases", "slots", "backups", "notifications")


SERIALS = (("deployments", "number"), ("notifications", "id"))


def content(store: SqlStore) -> dict[str, list[Any]]:
    return {table: list(store.database.rows(f"SELECT * FROM {table} ORDER BY 1, 2", {})) for table in TABLES}


def told(store: SqlStore) -> list[str]:
    return [event.message for event in store.events("d1", after=1)]


@pytest.fixture
def wire(url: str) -> Iterator[Wire]:
    with Wire(url) as made:
        yield made


@pytest.fixture
def calm(server: Server) -> Iterator[SqlStore]:
    """A store like the one under test, on a line that does not break."""
    with open_store(server.create_database("calm"), samples.StillClock()) as store:
        yield store
    server.drop_database("calm")


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_write_whose_commit_gets_no_answer_happens_exactly_once(
    wire: Wire, calm: SqlStore, write: Act
) -> None:
    """What it returns and leaves is what it returns and leaves on a line that does not break."""
    with open_store(wire.url, samples.StillClock()) as store:
        for loss in (Loss.QUESTION, Loss.ANSWER):
            for each in (store, calm):
                raw(each, f"TRUNCATE {', '.join(TABLES)} RESTART IDENTITY")
            leases = begun(store), begun(calm)
            store.notify(APP, ENV, "success", "all", "hello", [])
            calm.notify(APP, ENV, "success", "all", "hello", [])
            wire.losses.append(loss)
            assert write(store, leases[0]) == write(calm, leases[1])
            assert wire.losses == []
            assert _without_serials(content(store)) == _without_serials(content(calm))


def _without_serials(content: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """A transaction that was undone leaves a gap in what a sequence counts."""
    return {
        table: [{key: value for key, value in row.items() if (table, key) not in SERIALS} for row in rows]
        for table, rows in content.items()
    }


def test_a_commit_that_arrives_after_its_line_was_cut_is_found_and_not_repeated(wire: Wire) -> None:
    with open_store(wire.url) as store:
        lease = begun(store)
        wire.losses.append(Loss.HELD_UP)
        began = time.monotonic()
        store.tell(lease.token, "d1", "told", "one")
        assert time.monotonic() - began > 0.5, "it waited for what was still under way"
        store.tell(lease.token, "d1", "told", "two")
        assert told(store) == ["one", "two"]


def test_the_keys_of_writes_do_not_pile_up(url: str) -> None:
    with open_store(url) as store:
        lease = begun(store)
        raw(store, "INSERT INTO writes VALUES ('of somebody who is gone', 0)")
        for number in range(5):
            store.tell(lease.token, "d1", "told", str(number))
        assert len(store.database.rows("SELECT * FROM writes", {})) == 2
    with open_store(url) as store:
        store.tell(lease.token, "d1", "told", "again")
        keys = [row["key"] for row in store.database.rows("SELECT key FROM writes", {})]
        assert "of somebody who is gone" not in keys


class Busy:
    """Tells numbers in a thread of its own, one after another, until it has had enough."""

    def __init__(self, store: SqlStore, token: int, pause_s: float = 0.0) -> None:
        self.said: list[str] = []
        self._store, self._token, self._pause_s = store, token, pause_s
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Busy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _work(self) -> None:
        while not self._enough.wait(self._pause_s):
            self._store.tell(self._token, "d1", "told", str(len(self.said)))
            self.said.append(str(len(self.said)))


def test_a_server_that_restarts_ends_nothing_and_loses_nothing(server: Server, url: str) -> None:
    heard: list[str] = []
    with open_store(url, tell=heard.append) as store:
        lease = begun(store)
        reader = open_reader(url)
        assert reader.events("d1")
        with Busy(store, lease.token) as busy:
            for end in (server.stop, server.kill):
                time.sleep(0.3)
                end()
                time.sleep(0.5)
                server.start()
                assert reader.events("d1")
            time.sleep(0.3)
        assert len(busy.said) > 10
        assert told(store) == busy.said
        assert told(store) == [event.message for event in reader.events("d1", after=1)]
        reader.close()
    assert [line for line in heard if "trying again for up to 60 s" in line]
    assert [line for line in heard if "answers again after" in line]


def test_connections_that_are_ended_at_random_lose_and_repeat_nothing(server: Server, url: str) -> None:
    """By the administrator's hand, so in whatever a write is doing just then."""
    name = url.rpartition("/")[2]
    with open_store(url) as store:
        lease = begun(store)
        with psycopg.connect(server.url, autocommit=True) as admin, Busy(store, lease.token) as busy:
            ended, end = 0, time.monotonic() + 30
            while (ended < 10 or len(busy.said) < 10) and time.monotonic() < end:
                query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
                ended += len(admin.execute(query, [name]).fetchall())
                time.sleep(0.04 + ended % 7 * 0.01)
        assert ended >= 10 and len(busy.said) >= 10
        assert told(store) == busy.said


def test_an_outage_that_lasts_says_what_is_known(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ServerDatabase, "patience_s", 0.5)
    with open_store(url) as store:
        lease = begun(store)
        server.stop()
        try:
            for act in (lambda: store.tell(lease.token, "d1", "told", "x"), lambda: store.events("d1")):
                began = time.monotonic()
                with pytest.raises(StoreError, match=r"nothing listens there .*; tried for 0.5 s") as refused:
                    act()
                assert time.monotonic() - began < 3
                assert "is the server running" in (refused.value.hint or "")
        finally:
            server.start()
        store.tell(lease.token, "d1", "told", "one")
        assert told(store) == ["one"]


def test_a_commit_that_nobody_can_ask_about_is_neither_done_nor_undone(
    server: Server, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ServerDatabase, "patience_s", 0.5)
    with open_store(wire.url) as store:
        lease = begun(store)
        wire.losses += [Loss.ANSWER]
        wire.let_nobody_in()
        with pytest.raises(StoreError, match="broke during a commit") as refused:
            store.tell(lease.token, "d1", "told", "one")
        assert "whether the last write happened is not known" in (refused.value.state or "")


def test_a_server_that_hangs_is_not_waited_for_forever(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kernel still answers for it, so no keepalive finds out."""
    monkeypatch.setattr(StoreConnection, "answer_s", 0.5)
    monkeypatch.setattr(ServerDatabase, "patience_s", 1.0)
    with open_store(url) as store:
        lease = begun(store)
        server.freeze()
        try:
            began = time.monotonic()
            with pytest.raises(StoreError, match="does not answer"):
                store.tell(lease.token, "d1", "told", "x")
            assert time.monotonic() - began < 12
        finally:
            server.thaw()
        store.tell(lease.token, "d1", "told", "one")
        assert "one" in told(store)


def test_a_server_without_a_free_connection_is_waited_for_and_then_named(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "OPENING_S", 0.3)
    monkeypatch.setattr("backstay.adapters.store.server.writing.OPENING_S", 0.3)
    held: list[psycopg.Connection[Any]] = []
    try:
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            while True:
                held.append(psycopg.connect(server.url))
        with pytest.raises(StoreError, match="all its connections are taken") as refused:
            open_store(url)
        assert "max_connections" in (refused.value.hint or "")
        monkeypatch.setattr("backstay.adapters.store.server.writing.OPENING_S", 20.0)
        free = threading.Timer(0.5, lambda: _close(held[:4]))
        free.start()
        open_store(url).close()
        free.join()
    finally:
        _close(held)


def _close(connections: Iterable[psycopg.Connection[Any]]) -> None:
    for each in connections:
        each.close()


def test_the_clock_is_the_servers(url: str) -> None:
    """One for all control hosts: whoever has a wrong one cannot make a lease last longer, or end it."""
    with open_store(url) as store:
        lease = begun(store)
        [row] = store.database.rows("SELECT extract(epoch FROM clock_timestamp())::float8 AS now", {})
        assert 0 <= row["now"] - lease.acquired_at < 10
    with open_store(url, samples.StillClock()) as store:
        assert store.heartbeat(lease).expires_at < lease.expires_at, "the clock of the tests is of March 2026"


def test_a_process_takes_two_connections_and_gives_them_back(url: str) -> None:
    before = open_connections()
    with open_store(url) as store, open_reader(url) as reader:
        lease = begun(store)
        busy = [Busy(store, lease.token) for _ in range(6)]
        for each in busy:
            each.__enter__()
        time.sleep(0.3)
        for each in busy:
            each.__exit__()
        assert reader.events("d1")
        names = store.database.rows(
            "SELECT application_name AS name FROM pg_stat_activity WHERE datname = current_database()", {}
        )
        assert {row["name"] for row in names} == {"backstay"}
        assert 2 <= len(names) <= 3
        assert open_connections() - before == len(names)
        assert len(told(store)) == sum(len(each.said) for each in busy)
    assert open_connections() == before


def test_a_commit_is_on_the_disk_even_where_the_server_is_told_not_to_wait(server: Server, url: str) -> None:
    name = url.rpartition("/")[2]
    server.query(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    with open_store(url) as store:
        assert store.database.rows("SHOW synchronous_commit", {}) == [{"synchronous_commit": "on"}]


def test_an_upgrade_by_a_newer_program_meanwhile_stops_no_write(server: Server, url: str) -> None:
    """The server refuses a statement it prepared when a column it returns has got another type."""
    with open_store(url) as store, psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as newer:
        token = begun(store).token
        for number in range(8):
            store.tell(token, "d1", "told", str(number))
        newer.execute("ALTER TABLE deployments ALTER kind TYPE text, ADD COLUMN note text")
        store.tell(token, "d1", "told", "8")
        assert told(store) == [str(number) for number in range(9)]
        assert store.deployment("d1") is not None


def test_text_that_postgresql_cannot_hold_is_written_all_the_same(url: str) -> None:
    with open_store(url) as store:
        token = begun(store).token
        store.tell(token, "d1", "told", "half a line\0and more", data={"raw": "\0"})
        store.notify(APP, ENV, "s" * 300, "c" * 300, "hello", [])
        [event] = store.events("d1", after=1)
        assert (event.message, event.data) == ("half a line\N{REPLACEMENT CHARACTER}and more", {"raw": "\0"})


def test_a_signal_that_asks_in_the_middle_of_a_question_gets_its_own_connection(url: str) -> None:
    """Ctrl-C while a deployment is followed."""
    with open_store(url) as store:
        begun(store)
        before = signal.signal(signal.SIGALRM, lambda signum, frame: store.ask("d1", Wish.ABORT))
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        try:
            store.database.rows("SELECT pg_sleep(0.4)", {})
        finally:
            signal.signal(signal.SIGALRM, before)
        assert store.wish("d1") is Wish.ABORT


def test_no_worker_is_copied_from_a_process_with_a_connection(url: str, folder: Path) -> None:
    where = wiring.place({"BACKSTAY_HOME": str(folder), "BACKSTAY_STORE": url})
    with (
        open_store(where.store),
        pytest.raises(RuntimeError, match="is open while a worker is started") as refused,
    ):
        wiring.worker.start_worker(where, "d1", lambda: 0, folder / "log")
    assert PASSWORD not in str(refused.value) and not (folder / "log").exists()
    with open_reader(where.store) as reader:
        reader.history(APP, ENV)
        with pytest.raises(RuntimeError, match="is open"):
            wiring.worker.start_worker(where, "d1", lambda: 0, folder / "log")
