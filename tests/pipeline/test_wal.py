"""Looking after received WAL: started again, told when late, adopted, pruned; over doubles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backstay.domain.backup import Backup, BackupKind, BackupState
from backstay.domain.secret import Secret
from backstay.domain.wal import DEFAULT_SEGMENT_BYTES, Base, Continuous, Flow, WalState, write_lsn
from backstay.pipeline.times import rfc3339
from backstay.pipeline.wal import BACKOFF_S, OBSERVE_S, Watch, WatchOrder, chains, slot_name
from backstay.ports.store import Store
from backstay.testing import FakeClock, FakeReceiver, FakeWalFolder, FakeWalServer
from tests.pipeline.conftest import Town

FOLDER = Path("/wal/prod")


@dataclass
class Keeping:
    """A watch and all around it. `run` lets time go by, a round every few seconds."""

    store: Store
    clock: FakeClock = field(default_factory=FakeClock)
    told: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server = FakeWalServer(self.clock)
        self.archive = FakeWalFolder()
        self.receiver = FakeReceiver(self.server, self.archive)
        self.watch = self.again()

    def again(self, rpo_s: float = 900.0, *, canary: bool = True) -> Watch:
        """Another watch over the same server, as after a restart of ours."""
        continuous = Continuous("R", canary=canary)
        order = WatchOrder(
            "shop", "prod", Secret("postgresql://u:hunter2@db/shop"), FOLDER, continuous, rpo_s
        )
        self.watch = Watch(self, order, self.tell)
        return self.watch

    def tell(self, kind: str, message: str, **data: Any) -> None:
        self.told.append((kind, message))

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.told]

    def run(self, seconds: float, each: Callable[[], None] = lambda: None) -> WalState:
        """At least one round."""
        until = self.clock.monotonic() + seconds
        while True:
            each()
            state = self.watch.step()
            if self.clock.monotonic() >= until:
                return state
            self.clock.sleep(OBSERVE_S)

    def works(self) -> None:
        """The server writes, and it arrives."""
        self.server.write(1 << 20)
        self.receiver.flow(FOLDER)

    def works_hard(self) -> None:
        self.server.write(DEFAULT_SEGMENT_BYTES)
        self.receiver.flow(FOLDER)


@pytest.fixture
def keeping(town: Town) -> Keeping:
    return Keeping(town.store, town.clock)


def base_backup(
    keeping: Keeping,
    name: str = "b1",
    state: BackupState = BackupState.UNVERIFIED,
    wal_lsn: str | None = None,
) -> Base:
    """A base backup made now, in the catalog and in the WAL."""
    at = keeping.clock.now()
    backup = Backup(
        name,
        "shop",
        "prod",
        rfc3339(at),
        BackupKind.PHYSICAL,
        state,
        7,
        f"/b/{name}",
        "ab",
        "base",
        wal_lsn=wal_lsn,
    )
    keeping.store.record_backup(backup)
    base = Base(name, 1, keeping.server.lsn - 40, keeping.server.lsn, at, at)
    keeping.archive.bases[name] = base
    return base


def test_it_begins_to_receive_and_says_so_once(keeping: Keeping) -> None:
    state = keeping.run(60, keeping.works)
    assert state.flow is Flow.RECEIVING and state.message == ""
    assert keeping.kinds == ["wal_receiving"]
    assert keeping.archive.state(FOLDER) == state
    assert state.caught_up is not None and state.caught_up.lsn == keeping.server.lsn


def test_an_idle_server_is_never_late(keeping: Keeping) -> None:
    assert keeping.run(3600).flow is Flow.RECEIVING
    assert keeping.watch.behind_s == 0


def test_what_does_not_arrive_is_late_long_before_the_rpo_is_used_up(keeping: Keeping) -> None:
    keeping.run(60, keeping.works)
    keeping.told.clear()
    state = keeping.run(60, lambda: keeping.server.write(1 << 20))
    assert state.flow is Flow.LATE
    [(kind, message)] = keeping.told
    assert kind == "wal_late" and message.startswith("WAL has not arrived for 3")
    keeping.run(30, keeping.works)
    assert keeping.kinds == ["wal_late", "wal_receiving"]


def test_with_a_short_rpo_late_is_earlier(keeping: Keeping) -> None:
    keeping.again(rpo_s=20)
    keeping.run(10, keeping.works)
    assert keeping.run(15, lambda: keeping.server.write(1)).flow is Flow.LATE


def test_a_receiver_that_dies_is_started_again_ever_later_and_its_words_are_told(keeping: Keeping) -> None:
    keeping.run(120, keeping.works)
    keeping.told.clear()
    keeping.receiver.dies = 'could not write 8192 bytes to WAL file "x": No space left on device'
    keeping.receiver.stop(FOLDER)
    keeping.receiver.starts.clear()
    state = keeping.run(300, lambda: keeping.server.write(1))
    assert state.flow is Flow.DOWN and "No space left" in state.message
    assert [kind for kind, message in keeping.told] == ["wal_down"] and "No space left" in keeping.told[0][1]
    waits = [b - a for a, b in zip(keeping.receiver.starts, keeping.receiver.starts[1:], strict=False)]
    assert waits == sorted(waits) and waits[-1] == BACKOFF_S[-1]
    keeping.receiver.dies = ""
    assert keeping.run(60, keeping.works).flow is Flow.RECEIVING


def test_a_receiver_that_lasted_is_started_again_at_once(keeping: Keeping) -> None:
    keeping.run(120, keeping.works)
    keeping.receiver.stop(FOLDER)
    keeping.run(OBSERVE_S)
    assert keeping.receiver.running and keeping.kinds == ["wal_receiving"]


def test_one_that_an_earlier_process_left_running_is_kept(keeping: Keeping) -> None:
    keeping.run(30, keeping.works)
    assert len(keeping.receiver.starts) == 1
    keeping.again()
    assert keeping.run(30, keeping.works).flow is Flow.RECEIVING
    assert len(keeping.receiver.starts) == 1


def test_a_server_that_cannot_be_asked_is_late(keeping: Keeping) -> None:
    keeping.run(30, keeping.works)
    keeping.server.fault = "the database did not answer within 10 s"
    state = keeping.run(60)
    assert state.flow is Flow.LATE and "did not answer" in state.message
    keeping.server.fault = None
    assert keeping.run(OBSERVE_S).flow is Flow.RECEIVING


def test_a_folder_that_cannot_be_written_is_told(keeping: Keeping) -> None:
    keeping.run(30, keeping.works)
    keeping.archive.fault = "/wal/prod: Read-only file system"
    state = keeping.run(60, keeping.works)
    assert state.flow is Flow.LATE and "Read-only" in state.message


def test_what_the_server_threw_away_is_told_and_what_comes_after_it_is_received(keeping: Keeping) -> None:
    keeping.run(30, keeping.works)
    base_backup(keeping)
    keeping.run(30, keeping.works)
    [before] = chains(keeping, "shop", "prod", FOLDER)
    keeping.receiver.stop(FOLDER)
    keeping.server.write(5 * DEFAULT_SEGMENT_BYTES)
    keeping.server.lose()
    keeping.run(0)
    assert keeping.server.dropped == [slot_name("shop", "prod")]
    state = keeping.run(60, keeping.works)
    assert state.flow is Flow.RECEIVING
    assert state.caught_up is not None and state.caught_up.lsn == keeping.server.lsn
    assert keeping.kinds == ["wal_receiving", "wal_gap"]
    [after] = chains(keeping, "shop", "prod", FOLDER)
    assert after.gap is not None and (after.files, after.end, after.until) == (
        before.files, before.end, before.until,
    )  # fmt: skip
    base_backup(keeping, "b2")
    keeping.run(30, keeping.works)
    assert chains(keeping, "shop", "prod", FOLDER)[0].gap is None


def test_without_a_slot_wal_that_is_gone_is_not_asked_for_again_and_again(keeping: Keeping) -> None:
    """As after a failover, or when somebody dropped the slot."""
    keeping.run(30, keeping.works)
    keeping.receiver.stop(FOLDER)
    keeping.server.write(5 * DEFAULT_SEGMENT_BYTES)
    keeping.server.lose()
    keeping.server.lost = False
    assert keeping.run(30, keeping.works).flow is Flow.RECEIVING
    assert keeping.kinds == ["wal_receiving", "wal_gap"] and keeping.server.dropped == []
    assert keeping.watch.behind_s == 0


def test_what_somebody_else_receives_is_not_taken_for_received(keeping: Keeping) -> None:
    """A receiver that another host left running moves the slot."""
    keeping.server.active = True

    def elsewhere() -> None:
        keeping.server.write(1 << 20)
        keeping.server.received = keeping.server.lsn

    state = keeping.run(120, elsewhere)
    assert state.flow is Flow.DOWN and "somebody else receives" in state.message
    assert keeping.kinds == ["wal_down"] and state.caught_up is None
    keeping.server.active = False
    assert keeping.run(60, keeping.works).flow is Flow.RECEIVING


def test_what_is_not_in_the_folder_is_not_taken_for_received(keeping: Keeping) -> None:
    keeping.run(30, keeping.works)

    def vanishes() -> None:
        keeping.works_hard()
        keeping.archive.files[FOLDER].clear()

    assert keeping.run(60, vanishes).flow is Flow.LATE


def test_a_receiver_that_cannot_stay_is_down_although_the_server_is_idle(keeping: Keeping) -> None:
    keeping.run(30, keeping.works)
    keeping.receiver.dies = "No space left on device"
    keeping.receiver.stop(FOLDER)
    state = keeping.run(60)
    assert state.flow is Flow.DOWN and "No space left" in state.message


def test_wal_of_another_server_is_never_mixed_in(keeping: Keeping) -> None:
    keeping.run(30, keeping.works)
    before = dict(keeping.archive.files[FOLDER])
    keeping.server.system_identifier, keeping.server.received = "7002", None
    keeping.run(30, keeping.works)
    assert keeping.archive.files[FOLDER.with_name("prod.7001")] == before
    assert ("wal_set_aside" in keeping.kinds) and keeping.archive.states[FOLDER].system_identifier == "7002"
    keeping.again()
    keeping.run(0)
    assert len(keeping.archive.aside) == 1


def test_an_unlimited_slot_is_advised_about_once(keeping: Keeping) -> None:
    keeping.server.keep_bytes = None
    keeping.run(60, keeping.works)
    assert keeping.kinds.count("wal_advised") == 1


def test_a_canary_row_each_minute(keeping: Keeping) -> None:
    keeping.run(600, keeping.works)
    assert len(keeping.server.beats) == 11


def test_a_role_that_may_not_write_the_canary_is_told_once_and_still_protected(keeping: Keeping) -> None:
    keeping.server.canary_fault = "permission denied for database shop"
    state = keeping.run(300, keeping.works)
    assert state.flow is Flow.RECEIVING
    assert (
        keeping.told.count(("canary_silent", "no canary row is written: permission denied for database shop"))
        == 1
    )
    keeping.again(canary=False).step()
    assert keeping.server.beats == []


def test_no_password_is_told(keeping: Keeping) -> None:
    keeping.server.fault = "down"
    keeping.run(60)
    assert "hunter2" not in str(keeping.told)


class TestChains:
    def test_a_base_and_what_came_after_it(self, keeping: Keeping) -> None:
        keeping.run(30, keeping.works)
        base = base_backup(keeping)
        state = keeping.run(300, keeping.works)
        [found] = chains(keeping, "shop", "prod", FOLDER)
        assert found.base == base and found.gap is None
        assert state.caught_up is not None and found.until == state.caught_up.at

    def test_without_a_base_received_wal_is_worth_nothing(self, keeping: Keeping) -> None:
        keeping.run(300, keeping.works)
        assert chains(keeping, "shop", "prod", FOLDER) == []

    def test_pruning_keeps_every_chain_as_it_is(self, keeping: Keeping) -> None:
        keeping.run(600, keeping.works_hard)
        base_backup(keeping)
        keeping.run(700, keeping.works_hard)
        before = chains(keeping, "shop", "prod", FOLDER)
        files = len(keeping.archive.files[FOLDER])
        keeping.told.clear()
        keeping.run(600)
        after = chains(keeping, "shop", "prod", FOLDER)
        assert [replace(c, until=before[0].until) for c in after] == before
        assert after[0].until - before[0].until >= timedelta(seconds=600)
        assert len(keeping.archive.files[FOLDER]) <= files

    def test_nothing_is_pruned_without_a_base(self, keeping: Keeping) -> None:
        keeping.run(3600, keeping.works)
        assert "wal_pruned" not in keeping.kinds

    def test_old_files_go_when_a_base_no_longer_needs_them(self, keeping: Keeping) -> None:
        keeping.run(900, keeping.works_hard)
        base_backup(keeping)
        keeping.run(601)
        assert "wal_pruned" in keeping.kinds
        assert len(keeping.archive.files[FOLDER]) <= 2

    @pytest.mark.parametrize("state", [BackupState.UNVERIFIED, BackupState.DAMAGED])
    def test_a_base_that_cannot_be_read_keeps_what_it_needs(
        self, keeping: Keeping, state: BackupState
    ) -> None:
        keeping.run(10, keeping.works)
        old = base_backup(keeping, "old", state)
        keeping.run(900, keeping.works_hard)
        base_backup(keeping, "new")
        before = set(keeping.archive.files[FOLDER])
        del keeping.archive.bases["old"]
        keeping.run(1300)
        assert before <= set(keeping.archive.files[FOLDER])
        told = [message for kind, message in keeping.told if kind == "wal_kept"]
        assert told[-1:] == [
            "no WAL is removed: nobody can tell what old needs; mount the disk, or remove its files and its manifest"
        ]
        keeping.archive.bases["old"] = old
        keeping.run(601)
        assert before <= set(keeping.archive.files[FOLDER])

    def test_a_damaged_base_keeps_wal_until_its_files_are_removed(self, keeping: Keeping) -> None:
        keeping.run(10, keeping.works)
        base_backup(keeping, "old", BackupState.DAMAGED)
        keeping.run(900, keeping.works_hard)
        base_backup(keeping, "new")
        before = set(keeping.archive.files[FOLDER])
        keeping.run(1300)
        assert before <= set(keeping.archive.files[FOLDER])
        assert [message for kind, message in keeping.told if kind == "wal_kept"] == [
            "WAL is kept for old, though damaged; to give it up, remove its files and its manifest"
        ]
        keeping.archive.gone.add("old")
        keeping.run(601)
        assert keeping.watch.wal_kept is None and len(keeping.archive.files[FOLDER]) < len(before)

    def test_where_the_catalog_knows_what_it_needs_the_rest_goes(self, keeping: Keeping) -> None:
        keeping.run(900, keeping.works_hard)
        base_backup(keeping, "old", BackupState.DAMAGED, wal_lsn=write_lsn(keeping.server.lsn))
        del keeping.archive.bases["old"]
        keeping.run(601)
        assert "wal_pruned" in keeping.kinds


@pytest.mark.parametrize(
    ("app", "environment"), [("a" * 40, "b" * 40), ("shop", "prod"), ("shop-prod", "x"), ("shop", "prod-x")]
)
def test_a_slot_has_a_name_that_the_server_takes(app: str, environment: str) -> None:
    name = slot_name(app, environment)
    assert len(name) <= 63 and name.replace("_", "").isalnum() and name == name.lower()
    assert name != slot_name(app + "x", environment)


def test_two_environments_never_share_a_slot() -> None:
    assert slot_name("a-b", "c") != slot_name("a", "b-c")
