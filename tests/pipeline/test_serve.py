"""`serve` over doubles: what is due runs, what was missed is told, what died is recovered, and all of it ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from backstay.adapters.calendar import CronCalendar
from backstay.domain.alarm import Subject
from backstay.domain.backup import Backup, BackupKind, BackupState
from backstay.domain.deployment import DeploymentState
from backstay.domain.drill import Drill, DrillKind
from backstay.domain.environment import Environment
from backstay.domain.lease import Owner, Presence
from backstay.domain.notification import Channel
from backstay.domain.schedule import Duty, DutyRun, Outcome, Schedule
from backstay.domain.secret import Secret
from backstay.domain.wal import DEFAULT_SEGMENT_BYTES, Base, Continuous, Flow
from backstay.pipeline.serve import Serve
from backstay.pipeline.times import rfc3339
from backstay.pipeline.wal import Watch, WatchOrder
from backstay.testing import (
    FakeChild,
    FakeChildren,
    FakeReceiver,
    FakeWalFolder,
    FakeWalServer,
)
from tests.pipeline.conftest import Town

FOLDER = Path("/wal/dev")
CHANNELS = (Channel("slack", "f1"),)


@dataclass
class House:
    """A serve and the world around it. `run` lets time go by, a round every two seconds. Commands end at once, and a
    backup makes one, unless they are among `held`: those end when a test says so."""

    town: Town
    continuous: Continuous | None = None
    held: tuple[str, ...] = ()
    schedule: Schedule = Schedule("0 2 * * *", None)  # noqa: RUF009
    told: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store, self.clock, self.host = self.town.store, self.town.clock, self.town.host
        self.database = self.town.database
        self.calendar, self.children = CronCalendar(), FakeChildren()
        self.archive = FakeWalFolder()
        self.server = FakeWalServer(self.clock)
        self.receiver = FakeReceiver(self.server, self.archive)
        self.rpo_s = 86400.0
        self.serve = self.again()

    def again(self) -> Serve:
        """Another one on the same state, as after a crash."""
        self.serve = Serve(self, self.tell, self.watch_of, lambda e: FOLDER if self.continuous else None)
        return self.serve

    def watch_of(self, environment: Environment) -> Watch | None:
        if self.continuous is None:
            return None
        order = WatchOrder("shop", "dev", Secret("url"), FOLDER, self.continuous, self.rpo_s)
        return StillWatch(self, order, self.tell)

    def tell(self, kind: str, message: str, **data: Any) -> None:
        self.told.append((kind, message))

    @property
    def environment(self) -> Environment:
        policy = replace(self.town.policy, rpo_s=self.rpo_s)
        return replace(
            self.town.environment,
            policy=policy,
            schedule=self.schedule,
            channels=CHANNELS,
            continuous=self.continuous,
        )

    def begin(self) -> None:
        self.serve.configure({"dev": self.environment})

    def run(self, seconds: float, every_s: float = 2.0) -> None:
        until = self.clock.monotonic() + seconds
        while True:
            self.serve.round()
            for child in [c for c in self.children.running if c.words[0] not in self.held]:
                if child.words[0] == "backup":
                    self.backup(physical=self.continuous is not None)
                child.end()
            if self.clock.monotonic() >= until:
                return
            self.clock.sleep(every_s)

    def backup(
        self, name: str = "", *, physical: bool = False, at: datetime | None = None, took_s: float = 1
    ) -> None:
        at = at or self.clock.now()
        kind = BackupKind.PHYSICAL if physical else BackupKind.LOGICAL
        backup = Backup(
            name or f"b{self.clock.monotonic()}", "shop", "dev", rfc3339(at), kind, BackupState.UNVERIFIED, 4,
            f"/b/{name or self.clock.monotonic()}", "ab", "why", took_s=took_s,
        )  # fmt: skip
        self.store.record_backup(backup)
        self.database.files[Path(backup.path)] = 4
        if physical:
            lsn = self.server.lsn
            self.archive.bases[backup.id] = Base(backup.id, self.server.timeline, lsn, lsn, at, at)

    def runs(self, duty: Duty = Duty.BACKUP) -> list[DutyRun]:
        """Newest first."""
        return self.store.duty_runs("shop", "dev", duty)

    def words(self, first: str) -> list[tuple[str, ...]]:
        return [child.words for child in self.children.started if child.words[0] == first]

    def messages(self, status: str) -> list[str]:
        """What the receivers were told under a status, oldest first."""
        rows = self.store.notifications("shop", "dev")
        return [row.message for row in reversed(rows) if row.status == status and row.channel == "log"]

    @property
    def alarms(self) -> dict[Subject, str]:
        return {alarm.subject: alarm.message for alarm in self.store.alarms("shop", "dev")}


class StillWatch(Watch):
    """Stands still unless a test steps it: its thread would read a clock that stands still too."""

    def step(self) -> Any:
        return self.state


@pytest.fixture
def house(town: Town) -> Iterator[House]:
    """Ten in the morning; the first look has not been taken yet."""
    made = House(town)
    yield made
    made.serve.finish()


class TestBackups:
    def test_the_first_one_is_made_at_once_and_then_one_each_night_and_as_the_rpo_wants(
        self, house: House
    ) -> None:
        house.begin()
        house.run(3 * 86400, every_s=600)
        begun = [
            datetime.fromisoformat(run.began_at) for run in house.store.duty_runs("shop", "dev", Duty.BACKUP)
        ][::-1]
        assert begun[0] == house.clock.start
        nights = [at for at in begun if (at.hour, at.minute) == (2, 0)]
        assert len(nights) == 3
        assert max(later - earlier for earlier, later in pairwise(begun)) <= timedelta(hours=18, minutes=10)
        assert Subject.RPO not in house.alarms

    def test_a_short_rpo_wants_one_every_three_quarters_of_it(self, house: House) -> None:
        house.rpo_s, house.schedule = 900.0, Schedule(None, None)
        house.begin()
        house.run(3600, every_s=15)
        assert len(house.words("backup")) == 6

    def test_the_command_says_why(self, house: House) -> None:
        house.begin()
        house.run(0)
        assert house.words("backup") == [("backup", "create", "dev", "--reason", "there is no backup yet")]

    def test_never_two_at_once(self, house: House) -> None:
        house.held, house.rpo_s = ("backup",), 900.0
        house.begin()
        house.run(7200, every_s=60)
        assert len(house.words("backup")) == 1

    def test_after_a_sleep_the_missed_one_is_made_and_told_once(self, house: House) -> None:
        house.backup("old")
        house.begin()
        house.run(60)
        house.clock.sleep(17 * 3600)
        house.run(600)
        [message] = house.messages("missed")
        assert message.startswith("backup was due at 2026-11-24T02:00:00.000Z and did not run")
        assert len(house.words("backup")) == 1

    def test_what_was_due_before_anybody_looked_is_not_missed(self, house: House) -> None:
        house.backup("old", at=house.clock.now() - timedelta(hours=9))
        house.begin()
        house.run(600)
        assert house.words("backup") == [] and house.messages("missed") == []

    def test_a_failure_is_an_alarm_tried_again_ever_later_and_mended_by_a_success(self, house: House) -> None:
        house.held = ("backup",)
        house.begin()
        begun = []
        for _ in range(4):
            house.run(4000, every_s=100)
            [child] = house.children.running
            begun.append(house.clock.monotonic())
            child.end(30, "the backup failed: disk full")
            house.run(0)
            assert house.alarms[Subject.BACKUP] == "the backup failed: the backup failed: disk full"
        assert house.messages("alarm").count(house.alarms[Subject.BACKUP]) == 1
        house.held = ()
        house.run(4000, every_s=100)
        assert Subject.BACKUP not in house.alarms
        assert "the backup went well again" in house.messages("mended")

    def test_backups_too_slow_for_the_rpo_are_told(self, house: House) -> None:
        house.held, house.rpo_s = ("backup",), 900.0
        house.begin()
        house.run(0)
        house.backup(took_s=400)
        house.children.running[0].end()
        house.run(2)
        assert [m for kind, m in house.told if kind == "backup_slow"] == [
            "dev: a backup takes 6 min 40 s, so backups alone cannot hold an RPO of 15 min 00 s;"
            " database.continuous could"
        ]

    def test_without_a_database_there_is_nothing_to_back_up(self, house: House) -> None:
        house.serve.configure({"dev": replace(house.environment, database=None)})
        house.run(86400, every_s=600)
        assert house.words("backup") == [] and Subject.RPO not in house.alarms


class TestObjectives:
    def test_a_broken_rpo_is_told_once_and_once_when_it_holds_again(self, house: House) -> None:
        house.held = ("backup",)
        house.backup("old")
        house.rpo_s = 900.0
        house.begin()
        house.run(1500, every_s=10)
        assert "the RPO is broken" in house.alarms[Subject.RPO]
        assert len(house.messages("alarm")) == 1
        house.backup("new")
        house.children.running[0].end()
        house.run(2)
        assert Subject.RPO not in house.alarms
        assert [m for m in house.messages("mended") if "RPO" in m]

    def test_while_the_very_first_backup_is_made_nobody_is_alarmed(self, house: House) -> None:
        house.held = ("backup",)
        house.begin()
        house.run(300)
        assert house.messages("alarm") == []

    def test_a_drill_that_took_too_long_breaks_the_rto(self, house: House) -> None:
        house.begin()
        at = rfc3339(house.clock.now())
        house.store.record_drill(
            Drill(0, "shop", "dev", DrillKind.RESTORE, at, at, ok=False, summary="slow", rto_s=4000.0)
        )
        house.run(20)
        assert "took 1 h 06 min" in house.alarms[Subject.RTO]

    def test_duties_of_people_that_are_overdue_are_told(self, house: House) -> None:
        house.begin()
        house.run(8 * 86400, every_s=3600)
        assert house.alarms[Subject.DUTIES].startswith("overdue: log-review (since 2026-11-30)")


class TestDrills:
    def test_one_when_it_is_scheduled_and_once(self, house: House) -> None:
        house.schedule = Schedule("0 2 * * *", "0 4 1 * *")
        house.begin()
        house.run(9 * 86400, every_s=3600)
        assert house.words("drill") == [("drill", "restore", "dev")]

    def test_a_failed_one_is_an_alarm_and_not_repeated_until_the_next_time(self, house: House) -> None:
        house.schedule, house.held = Schedule(None, "0 4 * * *"), ("drill",)
        house.backup("old")
        house.rpo_s = 9e9
        house.begin()
        house.run(19 * 3600, every_s=600)
        house.children.running[0].end(30, "the restored data is too old")
        house.run(12 * 3600, every_s=600)
        assert len(house.words("drill")) == 1
        assert house.alarms[Subject.DRILL] == "the restore-drill failed: the restored data is too old"


class TestRecovery:
    def test_a_deployment_whose_worker_died_is_recovered(self, house: House) -> None:
        house.town.deploy("v1")
        plan_run, lease = house.town.begin(_plan(house.town, "v2"))
        house.begin()
        house.run(60)
        assert house.words("recover") == [], "its worker lives"
        house.host.presences[lease.owner.pid] = Presence.GONE
        house.held = ("recover",)
        house.run(60)
        assert house.words("recover") == [("recover", "dev")]
        house.store.move(lease.token, plan_run.id, DeploymentState.FAILED)
        house.store.release_lease(lease)
        house.children.running[-1].end(20, "dev: v2 was taken back")
        house.run(60)
        assert len(house.words("recover")) == 1
        assert [run.outcome for run in house.runs(Duty.RECOVERY)] == [Outcome.DONE]

    def test_one_that_cannot_be_recovered_is_tried_again_ever_later(self, house: House) -> None:
        house.town.deploy("v1")
        _, lease = house.town.begin(_plan(house.town, "v2"))
        house.host.presences[lease.owner.pid] = Presence.GONE
        house.held = ("recover",)
        house.begin()
        for _ in range(600):
            house.run(0)
            for child in house.children.running:
                child.end(1, "the engine does not answer")
            house.clock.sleep(2)
        assert 2 <= len(house.words("recover")) <= 4

    def test_leftovers_are_looked_for_once_an_hour(self, house: House) -> None:
        house.begin()
        house.run(3 * 3600 + 60, every_s=60)
        assert len(house.words("recover")) == 4

    def test_nobody_who_holds_the_environment_is_disturbed(self, house: House) -> None:
        house.store.take_lease(
            "shop", "dev", Owner("ann", "here", 1, 1, "boot").person, "maintenance", None, lasts_s=9e5
        )
        house.begin()
        house.run(3 * 3600, every_s=60)
        assert house.words("recover") == []


def _plan(town: Town, version: str) -> Any:
    from backstay.pipeline.resolve import plan_deploy

    return plan_deploy(
        town.application, version, (), False, town.store, lambda i, v: town.engine.digest(i, v, None)
    )


class TestContinuous:
    @pytest.fixture
    def house(self, town: Town) -> Iterator[House]:
        made = House(town, Continuous("R", base_after_bytes=1 << 30))
        made.rpo_s = 900.0
        made.begin()
        yield made
        made.serve.finish()

    def live(self, house: House, seconds: float, each: int = 1 << 16) -> None:
        """The server writes, all arrives, and both are looked after."""
        [served] = house.serve._served.values()
        assert served.keeper is not None
        until = house.clock.monotonic() + seconds
        while house.clock.monotonic() < until:
            house.server.write(each)
            house.receiver.flow(FOLDER)
            Watch.step(served.keeper.watch)
            house.run(0)
            house.clock.sleep(5)

    def test_a_base_backup_at_once_and_then_none_but_the_nightly_one(self, house: House) -> None:
        self.live(house, 1200)
        assert [words[2:] for words in house.words("backup")] == [
            ("dev", "--reason", "there is no backup yet")
        ]
        assert house.alarms == {}

    def test_by_volume(self, house: House) -> None:
        self.live(house, 600, each=16 << 20)
        reasons = [words[4] for words in house.words("backup")]
        assert reasons[0] == "there is no backup yet"
        assert (
            reasons[1:] == ["1.07 GB of WAL since the last base backup"] * len(reasons[1:])
            and len(reasons) >= 2
        )

    def test_after_a_gap_at_once(self, house: House) -> None:
        self.live(house, 120, each=16 << 20)
        files = house.archive.files[FOLDER]
        del files[sorted(files)[-2]]
        self.live(house, 60)
        assert "the WAL has a gap" in house.words("backup")[-1][4]
        before = len(house.words("backup"))
        self.live(house, 60)
        assert len(house.words("backup")) == before

    def test_a_gap_that_stays_does_not_ask_for_one_base_after_another(self, house: House) -> None:
        self.live(house, 60, each=16 << 20)
        for _ in range(8):
            files = house.archive.files[FOLDER]
            del files[sorted(files)[-2]]
            self.live(house, 60, each=16 << 20)
        reasons = [words[4] for words in house.words("backup")]
        assert len([why for why in reasons if "the WAL has a gap" in why]) == 1

    def test_while_nothing_arrives_no_base_is_made_for_a_gap(self, house: House) -> None:
        self.live(house, 60, each=16 << 20)
        house.receiver.dies = "could not write: No space left on device"
        house.receiver.stop(FOLDER)
        self.live(house, 60)
        files = house.archive.files[FOLDER]
        del files[sorted(files)[-2]]
        self.live(house, 60)
        assert len(house.words("backup")) == 1
        house.receiver.dies = ""
        self.live(house, 60)
        assert "the WAL has a gap" in house.words("backup")[-1][4]

    def test_wal_that_stops_is_an_alarm_long_before_the_rpo_and_backups_hold_it_again(
        self, house: House
    ) -> None:
        self.live(house, 60)
        house.receiver.dies = "could not write: No space left on device"
        house.receiver.stop(FOLDER)
        began = house.clock.monotonic()
        while Subject.WAL not in house.alarms:
            self.live(house, 5)
        assert house.clock.monotonic() - began < 120
        assert "No space left" in house.alarms[Subject.WAL] and Subject.RPO not in house.alarms
        self.live(house, 1500)
        assert len(house.words("backup")) >= 2
        house.receiver.dies = ""
        self.live(house, 120)
        assert Subject.WAL not in house.alarms
        assert "WAL is being received, and there is room for it" in house.messages("mended")

    def test_a_disk_that_will_soon_be_full_is_an_alarm_while_wal_still_arrives(self, house: House) -> None:
        self.live(house, 60)
        house.archive.room = 63 * DEFAULT_SEGMENT_BYTES
        self.live(house, 60)
        assert house.alarms[Subject.WAL] == f"only 1.06 GB are free in {FOLDER}"
        before = len(house.words("backup"))
        house.archive.room = 64 * DEFAULT_SEGMENT_BYTES
        self.live(house, 60)
        assert Subject.WAL not in house.alarms and len(house.words("backup")) == before

    def test_backups_that_are_no_bases_do_not_follow_one_another(self, house: House) -> None:
        house.archive.bases = NoBases()
        self.live(house, 1500)
        assert len(house.words("backup")) <= 4

    def test_the_receiver_ends_with_it(self, house: House) -> None:
        self.live(house, 30)
        assert house.receiver.running
        house.serve.finish()
        assert not house.receiver.running


class NoBases(dict[str, Base]):
    def __setitem__(self, key: str, value: Base) -> None:
        return


class TestDying:
    def test_what_still_runs_is_waited_for_and_not_begun_twice(self, house: House) -> None:
        house.held = ("backup", "drill", "recover")
        house.begin()
        house.run(0)
        [child] = [c for c in house.children.running if c.words[0] == "backup"]
        house.again()
        house.begin()
        house.run(600, every_s=10)
        assert len(house.words("backup")) == 1
        house.backup()
        house.host.presences[child.pid] = Presence.GONE
        house.run(4)
        [run] = house.store.duty_runs("shop", "dev", Duty.BACKUP)
        assert (run.outcome, run.detail) == (Outcome.DONE, "ended while nobody watched")

    def test_what_died_too_is_lost_told_and_done_again(self, house: House) -> None:
        house.held = ("backup", "drill", "recover")
        house.begin()
        house.run(0)
        for child in house.children.running:
            house.host.presences[child.pid] = Presence.GONE
            child.end(-9)
        house.again()
        house.begin()
        assert "lost" in house.alarms[Subject.BACKUP]
        house.held = ()
        house.run(300, every_s=10)
        assert [r.outcome for r in house.store.duty_runs("shop", "dev", Duty.BACKUP)] == [
            Outcome.DONE,
            Outcome.LOST,
        ]
        assert Subject.BACKUP not in house.alarms

    def test_the_end_stops_all_within_seconds(self, house: House) -> None:
        house.held = ("backup", "drill", "recover")
        house.begin()
        house.run(0)
        stubborn: FakeChild = house.children.running[0]
        stubborn.stubborn = True
        began = house.clock.monotonic()
        house.serve.finish()
        assert house.clock.monotonic() - began < 10
        assert stubborn.killed and all(child.asked for child in house.children.started)
        assert house.children.running == []
        assert Outcome.RUNNING not in {r.outcome for r in house.store.duty_runs("shop", "dev")}


class TestSettings:
    def test_a_changed_environment_is_taken_up_anew_and_its_backup_goes_on(self, house: House) -> None:
        house.held = ("backup", "drill", "recover")
        house.begin()
        house.run(0)
        house.rpo_s = 600.0
        house.begin()
        house.run(60)
        assert len(house.words("backup")) == 1 and not house.children.started[0].asked

    def test_one_that_is_gone_is_let_go(self, house: House) -> None:
        house.held = ("backup", "drill", "recover")
        house.begin()
        house.run(0)
        house.serve.configure({})
        assert all(child.asked for child in house.children.started)
        house.run(3600, every_s=60)
        assert len(house.children.started) == 2


def test_wal_that_is_down_is_what_the_watch_says(town: Town) -> None:
    house = House(town, Continuous("R"))
    house.receiver.dies = "no"
    watch = Watch(house, WatchOrder("shop", "dev", Secret("u"), FOLDER, Continuous("R"), 900), house.tell)
    assert watch.step().flow is Flow.DOWN


def test_ten_in_the_morning() -> None:
    """What the stories above count on."""
    from backstay.testing import FakeClock

    assert FakeClock().start == datetime(2026, 11, 23, 10, tzinfo=UTC)
