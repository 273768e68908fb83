"""Receiving write-ahead log from a server of our own: begun, killed, adopted, stopped, and what the server says."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backstay.adapters.postgres.manifest import manifest_path
from backstay.adapters.postgres.receiver import PgReceivewal, _receivers
from backstay.adapters.postgres.wal_archive import WalFolder
from backstay.adapters.postgres.wal_base import STANDBY_BYTES, needed_from
from backstay.adapters.postgres.wal_server import PostgresWalServer
from backstay.domain.secret import Secret
from backstay.domain.wal import Chain, Flow, Listing, Mark, WalState, parse_segment
from backstay.errors import DatabaseError
from backstay.pipeline.wal_prune import prune
from backstay.ports.wal import ServerPosition
from tests.postgres.continuous import APP, ENV, Protected, asked
from tests.postgres.server import PASSWORD, Server
from tests.world import World
from tests.world.processes import wait_until

pytestmark = pytest.mark.world

SLOT = "backstay_shop_prod"
SENDERS = 6


@pytest.fixture(scope="module")
def primary(world: World) -> Iterator[Server]:
    with Server(world.postgres, 20, senders=SENDERS) as made:
        yield made


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="bs-wal-")) / "prod"
    WalFolder().make(made)
    yield made
    PgReceivewal().stop(made)
    shutil.rmtree(made.parent)


def ask(server: Server) -> ServerPosition:
    return PostgresWalServer().position(Secret(server.url), SLOT, 10)


def start(server: Server, folder: Path) -> PgReceivewal:
    receiver = PgReceivewal()
    if not receiver.is_running(folder):  # the server takes a moment to see that the one before has ended
        assert wait_until(lambda: not ask(server).active, 20)
    receiver.start(Secret(server.url), SLOT, folder, ask(server).major)
    return receiver


def test_what_is_committed_arrives_at_once(primary: Server, folder: Path) -> None:
    receiver = start(primary, folder)
    assert receiver.is_running(folder)
    primary.query("CREATE TABLE IF NOT EXISTS t (n int); INSERT INTO t VALUES (1)")
    position = ask(primary)
    assert position.active and not position.lost and position.keep_bytes is None
    assert wait_until(lambda: (ask(primary).received or 0) >= position.lsn, 20)
    names = [parse_segment(path.name, position.segment_bytes) for path in folder.iterdir()]
    assert [n for n in names if n is not None and n.is_partial and n.timeline == position.timeline]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())
    receiver.stop(folder)
    assert not receiver.is_running(folder)


def test_it_outlives_us_and_is_found_again(primary: Server, folder: Path) -> None:
    """Another process of ours, later, sees it and does not start a second one."""
    start(primary, folder)
    before = list(_receivers(folder))
    later = start(primary, folder)
    assert list(_receivers(folder)) == before and len(before) == 1
    os.kill(before[0][0], signal.SIGKILL)
    assert wait_until(lambda: not later.is_running(folder), 5)
    start(primary, folder)
    assert later.is_running(folder)
    later.stop(folder)
    assert not later.is_running(folder)


def test_no_password_is_in_an_argument_a_variable_or_a_file_that_stays(
    primary: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    start(primary, folder)
    [(pid, _)] = _receivers(folder)
    seen = b"".join(Path(f"/proc/{pid}/{what}").read_bytes() for what in ("cmdline", "environ"))
    assert b"PGPASSFILE" in seen and PASSWORD.encode() not in seen
    assert list(tmp_path.iterdir()) == []


def test_it_says_why_it_cannot_begin(primary: Server, folder: Path) -> None:
    start(primary, folder)
    other = folder.parent / "other"
    WalFolder().make(other)
    second = PgReceivewal()
    with pytest.raises(DatabaseError, match=f"slot {SLOT} is active: somebody else receives by it"):
        second.start(Secret(primary.url), SLOT, other, ask(primary).major)
    assert not second.is_running(other)
    with pytest.raises(DatabaseError, match="password authentication failed") as refused:
        second.start(Secret(primary.url.replace(PASSWORD, "wr0ngw0rd")), SLOT, other, ask(primary).major)
    assert "wr0ngw0rd" not in refused.value.message


def test_it_waits_until_the_server_has_let_the_one_before_go(primary: Server, folder: Path) -> None:
    start(primary, folder)
    other = folder.parent / "other"
    WalFolder().make(other)
    [(pid, _)] = _receivers(folder)
    ending = threading.Timer(1.0, os.kill, (pid, signal.SIGKILL))
    ending.start()
    later = PgReceivewal()
    try:
        later.start(Secret(primary.url), SLOT, other, ask(primary).major)
        ending.join()
        time.sleep(0.3)
        assert later.is_running(other), later.last_words(other)
    finally:
        ending.join()
        later.stop(other)


def absent_until_wal_is_lost(protected: Protected) -> None:
    """Nobody receives, and the server writes until it keeps nothing for the slot any more."""
    protected.stop_watching()
    protected.ports.receiver.stop(protected.folder)
    for _ in range(40):
        protected.primary.query(
            "CREATE TABLE much AS SELECT repeat(md5(g::text), 20) FROM generate_series(1, 30000) g"
        )
        protected.primary.query("DROP TABLE much")
        protected.primary.query("CHECKPOINT")
        if protected.primary.query("SELECT wal_status FROM pg_replication_slots") == "lost":
            return
    raise AssertionError("the server goes on keeping it")


def test_after_a_gap_wal_is_received_again_and_what_came_before_still_serves(world: World) -> None:
    with Protected(world) as made:
        primary, archive = made.primary, made.ports.archive
        for limit in ("max_slot_wal_keep_size = '16MB'", "min_wal_size = '32MB'", "max_wal_size = '48MB'"):
            primary.query(f"ALTER SYSTEM SET {limit}")
        primary.query("SELECT pg_reload_conf()")
        made.keep_watching(every_s=0.2)
        made.base_backup()
        primary.query("CREATE TABLE orders AS SELECT generate_series(1, 100) n")
        good = made.now()
        time.sleep(0.05)
        primary.query("DROP TABLE orders")
        made.has_arrived()

        absent_until_wal_is_lost(made)
        made.keep_watching(every_s=0.2)
        made.base_backup()
        made.has_arrived()
        assert "wal_gap" in [kind for kind, _ in made.told]
        newest, oldest = made.chains()
        assert newest.gap is None and oldest.gap is not None and oldest.until >= good
        recovered = made.recovered(good)
        with recovered.server as server:
            assert asked(server.url("postgres"), "SELECT count(*) FROM orders") == "100"

        old = made.ports.store.backups(APP, ENV)[-1]
        manifest = manifest_path(Path(old.path))
        start, files = needed_from(old), set(oldest.files)
        manifest.rename(made.home / "unmounted")
        said = prune(made.ports, APP, ENV, made.folder, made._tell) or ""
        assert f"nobody can tell what {old.id} needs" in said
        assert needed_from(replace(old, wal_lsn="1/0")) == (1 << 32) - STANDBY_BYTES
        (made.home / "unmounted").rename(manifest)
        assert prune(made.ports, APP, ENV, made.folder, made._tell) is None
        assert files <= set(archive.listing(made.folder).files)
        assert needed_from(old) == start == oldest.base.start and not archive.is_gone(old)

        made.ports.database.discard(Path(old.path))
        assert archive.is_gone(old)
        assert prune(made.ports, APP, ENV, made.folder, made._tell) is None
        assert not files & set(archive.listing(made.folder).files) and made.chains()[0].gap is None


def test_a_server_that_hangs_is_given_up(world: World) -> None:
    with Server(world.postgres, 10, senders=SENDERS) as server:
        server.freeze()
        try:
            with pytest.raises(DatabaseError, match="did not answer within 1 s"):
                PostgresWalServer().position(Secret(server.url), SLOT, 1)
        finally:
            server.thaw()


def test_the_canary_is_one_row_that_is_always_there(primary: Server) -> None:
    server, url = PostgresWalServer(), Secret(primary.url)
    assert server.last_beat(url, 10) is None
    first = server.beat(url, 10)
    assert abs((datetime.now(UTC) - first).total_seconds()) < 5
    second = server.beat(url, 10)
    assert server.last_beat(url, 10) == second > first
    assert primary.query("SELECT count(*) FROM backstay.canary") == "1"


def test_a_role_that_may_not_write_is_told_so(primary: Server) -> None:
    primary.query("CREATE ROLE onlooker LOGIN PASSWORD 'l00k'")
    url = primary.url.replace(f"keeper:{PASSWORD}", "onlooker:l00k")
    with pytest.raises(DatabaseError, match="permission denied"):
        PostgresWalServer().beat(Secret(url), 10)


class TestFolder:
    NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)

    def test_marks_are_kept_apart_and_the_newest_is_in_the_state(self, folder: Path) -> None:
        archive = WalFolder()
        marks = [Mark(1, 100 * n, self.NOON + timedelta(seconds=5 * n)) for n in range(10)]
        for mark in marks:
            archive.mark(folder, mark)
            archive.note(
                folder, WalState(mark.at, Flow.RECEIVING, self.NOON, "7", 15, 1 << 20, mark, "advice")
            )
        found = archive.listing(folder)
        assert list(found.marks) == [marks[0], marks[3], marks[6], marks[9], marks[9]]
        assert found.segment_bytes == 1 << 20
        state = archive.state(folder)
        assert state is not None and (state.caught_up, state.message) == (marks[9], "advice")

    def test_what_a_crash_cut_short_is_left_out(self, folder: Path) -> None:
        archive = WalFolder()
        archive.mark(folder, Mark(1, 100, self.NOON))
        with (folder / "marks").open("a") as file:
            file.write("1 0/AB 2026-1")
        (folder / "state.json").write_text('{"seen": ')
        assert archive.listing(folder).marks == (Mark(1, 100, self.NOON),)
        assert archive.state(folder) is None

    def test_pruning_takes_files_and_old_marks(self, folder: Path) -> None:
        archive = WalFolder()
        for n in range(4):
            archive.mark(folder, Mark(1, n, self.NOON + timedelta(minutes=n)))
        (folder / "000000010000000000000001").write_bytes(b"x")
        archive.remove(folder, ["000000010000000000000001", "gone"], self.NOON + timedelta(minutes=2))
        found = archive.listing(folder)
        assert [mark.lsn for mark in found.marks] == [2, 3] and set(found.files) == {"marks"}

    def test_a_missing_folder_is_an_empty_one(self, folder: Path) -> None:
        assert WalFolder().listing(folder / "none") == Listing({})

    def test_a_server_gets_whole_files(self, folder: Path, tmp_path: Path) -> None:
        from backstay.domain.wal import Base, chain

        archive = WalFolder()
        (folder / "000000010000000000000001").write_bytes(b"a" * (1 << 20))
        (folder / "000000010000000000000002.partial").write_bytes(b"b" * 1000)
        (folder / "00000002.history").write_text("")
        archive.note(folder, WalState(self.NOON, Flow.RECEIVING, self.NOON, "7", 15, 1 << 20))
        base = Base("b", 1, (1 << 20) + 40, (1 << 20) + 80, self.NOON, self.NOON)
        found: Chain = chain(base, archive.listing(folder))
        (tmp_path / "pg_wal").mkdir()
        archive.supply(folder, found, tmp_path)
        sizes = {path.name: path.stat().st_size for path in (tmp_path / "pg_wal").iterdir()}
        assert sizes == {
            "000000010000000000000001": 1 << 20, "000000010000000000000002": 1 << 20, "00000002.history": 0,
        }  # fmt: skip

    def test_what_receives_goes_on_with_an_empty_file_and_it_counts_for_nothing(self, folder: Path) -> None:
        archive, name = WalFolder(), "000000010000000000000002"
        archive.begin_at(folder, name)
        archive.begin_at(folder, name)
        assert archive.listing(folder).files == {f"{name}.partial": 0}
        assert archive.holds(folder, (2 << 24) + 1, 1 << 24) and archive.holds(folder, 7 << 24, 1 << 24)
        assert not archive.holds(folder, 1, 1 << 24) and not archive.holds(folder, (3 << 24) + 1, 1 << 24)
        (folder / f"{name}.partial").rename(folder / name)
        archive.begin_at(folder, name)
        assert archive.listing(folder).files == {name: 0}

    def test_a_full_disk_is_named(self, folder: Path) -> None:
        with pytest.raises(DatabaseError, match=r"none.*No such file"):
            WalFolder().note(folder / "none", WalState(self.NOON, Flow.DOWN, self.NOON, "7", 15, 1 << 20))
        with pytest.raises(DatabaseError, match=r"none.*No such file"):
            WalFolder().free(folder / "none")

    def test_room_is_that_of_its_disk(self, small_disk: Callable[[str], Path]) -> None:
        assert WalFolder().free(small_disk("size=2m")) == 2 << 20
