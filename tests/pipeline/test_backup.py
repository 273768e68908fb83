"""Stories of backups over doubles: alone, and as a step of a deploy."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backstay.domain.backup import Backup, BackupKind, BackupLimits, BackupProgress, BackupState
from backstay.domain.content import Content, TableContent
from backstay.domain.deployment import DeploymentState, Wish
from backstay.domain.environment import CopyCommand
from backstay.domain.secret import Secret
from backstay.errors import BackupFailed, DatabaseError, StoreError
from backstay.pipeline.backup import BackupOrder, back_up
from backstay.pipeline.copy import Copying, copy_all
from backstay.pipeline.prune import as_they_are, prune
from backstay.ports.database import Dump, DumpOrder, InUse, MalformedUrl, PagesDamaged
from tests.pipeline.conftest import Town

UNVERIFIED, FAILED, DAMAGED = BackupState.UNVERIFIED, BackupState.FAILED, BackupState.DAMAGED


class Told:
    """Everything that was told, as kind and message."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def __call__(self, kind: str, message: str, **data: Any) -> None:
        self.events.append((kind, message))

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.events]


@pytest.fixture
def told() -> Told:
    return Told()


def order(town: Town, keep: int = 10, reason: str = "on demand") -> BackupOrder:
    return BackupOrder(
        "shop", "dev", Secret("postgresql://db/shop"), town.folder, reason, keep, BackupLimits()
    )


def make(town: Town, told: Told, keep: int = 10) -> Backup:
    """A backup, a second after whatever was before."""
    town.clock.elapsed_s += 1
    return make_at_once(town, told, keep)


def make_at_once(town: Town, told: Told, keep: int = 10) -> Backup:
    return back_up(town.world, order(town, keep), town.store.record_backup, told)


class TestAlone:
    def test_it_is_in_the_catalog_and_told(self, town: Town, told: Told) -> None:
        made = make(town, told)
        assert town.store.backups("shop", "dev") == [made]
        assert (made.state, made.bytes, made.reason, made.deployment) == (UNVERIFIED, 4, "on demand", None)
        assert Path(made.path) == town.database.dumps[0]
        assert told.events == [("backup_made", f"{made.id} (4 bytes, unverified)")]

    def test_two_in_the_same_millisecond_have_two_names(self, town: Town, told: Told) -> None:
        one, two = make_at_once(town, told), make_at_once(town, told)
        assert one.id != two.id and one.path != two.path
        assert [b.id for b in town.store.backups("shop", "dev")] == [two.id, one.id]

    def test_a_name_that_only_lies_on_the_disk_is_not_taken_either(self, town: Town, told: Told) -> None:
        one = make(town, told)
        town.store.remove_backup(one.id)
        assert make_at_once(town, told).id != one.id
        assert len(town.database.files) == 2

    def test_a_failure_is_in_the_catalog_with_its_reason(self, town: Town, told: Told) -> None:
        town.database.fault = "the server is down"
        with pytest.raises(BackupFailed, match="the backup failed: the server is down") as failed:
            make(town, told)
        assert failed.value.exit_status == 30 and "no file is left" in (failed.value.state or "")
        [row] = town.store.backups("shop", "dev")
        assert (row.state, row.path, row.bytes) == (FAILED, "", 0)
        assert row.reason == "on demand: the server is down"

    def test_two_failures_in_the_same_millisecond_are_two_entries(self, town: Town, told: Told) -> None:
        town.database.fault = "down"
        for _ in range(2):
            with pytest.raises(BackupFailed):
                make_at_once(town, told)
        assert len(town.store.backups("shop", "dev")) == 2

    def test_a_malformed_url_is_no_failed_backup(self, town: Town, told: Told) -> None:
        def refuse(order: DumpOrder) -> Dump:
            raise MalformedUrl("no URL")

        town.database.dump = refuse  # type: ignore[method-assign]
        with pytest.raises(MalformedUrl):
            make(town, told)
        assert town.store.backups("shop", "dev") == []

    def test_one_that_cannot_be_entered_leaves_no_file(self, town: Town, told: Told) -> None:
        def fails(backup: Backup) -> bool:
            raise StoreError("the disk is full")

        with pytest.raises(StoreError):
            back_up(town.world, order(town), fails, told)
        assert town.database.files == {}

    def test_what_people_should_know_is_told(self, town: Town, told: Told) -> None:
        town.database.notes = ("without globals: denied",)
        make(town, told)
        assert told.events[0] == ("backup_noted", "without globals: denied")


def verify(town: Town, *rows: Backup) -> None:
    for row in rows:
        town.store.change_backup(row.id, state=BackupState.VERIFIED)


def made_and_verified(town: Town, told: Told, keep: int = 10) -> Backup:
    """A backup that is verified before the next is made, as rehearsals do."""
    made = make(town, told, keep)
    verify(town, made)
    return made


class TestKeepingTen:
    def test_what_is_beyond_ten_goes_with_its_file_once_a_newer_one_is_verified(
        self, town: Town, told: Told
    ) -> None:
        made = [made_and_verified(town, told) for _ in range(12)]
        assert [b.id for b in town.store.backups("shop", "dev")] == [b.id for b in reversed(made[1:])]
        assert Path(made[0].path) not in town.database.files and len(town.database.files) == 11
        assert ("backup_removed", f"{made[0].id} removed: newer ones are kept") in told.events

    def test_nothing_goes_while_nothing_is_verified_and_that_is_told(self, town: Town, told: Told) -> None:
        for _ in range(12):
            make(town, told)
        assert len(town.database.files) == 12
        message = "2 old backups stay until a newer one is verified: backstay backup verify dev"
        assert told.events[-1] == ("backups_waiting", message)

    def test_a_person_may_let_them_go(self, town: Town, told: Told) -> None:
        made = [make(town, told) for _ in range(12)]
        assert prune(town.world, "shop", "dev", 10, told, unverified=True) == made[:2]
        assert len(town.database.files) == 10

    def test_a_pinned_one_stays(self, town: Town, told: Told) -> None:
        first = made_and_verified(town, told, keep=1)
        town.store.change_backup(first.id, pinned=True)
        second, last = (made_and_verified(town, told, keep=1) for _ in range(2))
        made_and_verified(town, told, keep=1)
        left = {b.id for b in town.store.backups("shop", "dev")}
        assert first.id in left and last.id in left and second.id not in left

    def test_one_that_is_being_read_stays_until_it_is_not(self, town: Town, told: Told) -> None:
        rows = [made_and_verified(town, told) for _ in range(3)]
        with town.database.reading(Path(rows[0].path)):
            assert [b.id for b in prune(town.world, "shop", "dev", 1, told)] == [rows[1].id]
        assert [b.id for b in prune(town.world, "shop", "dev", 1, told)] == [rows[0].id]

    def test_one_that_begins_to_be_read_just_then_stays_whole_and_listed(
        self, town: Town, told: Told
    ) -> None:
        rows = [made_and_verified(town, told) for _ in range(3)]

        def refuse(dump: Path) -> Any:
            raise InUse("it is being read")

        town.database.removal = refuse  # type: ignore[method-assign]
        assert prune(town.world, "shop", "dev", 1, told) == []
        assert len(town.store.backups("shop", "dev")) == len(rows) == 3
        assert told.events[-1] == ("backup_not_removed", "it is being read")

    def test_after_the_clock_jumped_back_the_newest_are_still_the_newest(
        self, town: Town, told: Told
    ) -> None:
        ahead = [made_and_verified(town, told, keep=2) for _ in range(2)]
        town.clock.start -= timedelta(days=1)
        made = [made_and_verified(town, told, keep=2) for _ in range(5)]
        left = [b.id for b in town.store.backups("shop", "dev")]
        # One of the day that the wrong clock showed stays, as one of each day does.
        assert left == [made[4].id, made[3].id, made[2].id, ahead[1].id]

    def test_one_whose_file_is_gone_counts_for_nothing(self, town: Town, told: Told) -> None:
        rows = [made_and_verified(town, told) for _ in range(3)]
        for row in rows[1:]:
            town.database.files.pop(Path(row.path))
        prune(town.world, "shop", "dev", 1, told)
        assert len(town.store.backups("shop", "dev")) == 3
        assert Path(rows[0].path) in town.database.files

    def test_other_environments_are_left_alone(self, town: Town, told: Told) -> None:
        other = replace(made_and_verified(town, told), id="other", environment="uat")
        town.store.record_backup(other)
        for _ in range(3):
            made_and_verified(town, told, keep=1)
        assert [b.id for b in town.store.backups("shop", "uat")] == ["other"]

    def test_what_cannot_be_removed_is_told_and_fails_nothing(self, town: Town, told: Told) -> None:
        for _ in range(2):
            made_and_verified(town, told, keep=1)
        town.database.undeletable = "read-only file system"
        make(town, told, keep=1)
        assert told.events[-1] == ("backup_not_removed", "old backups stay: read-only file system")


class TestWhatIsOdd:
    def test_one_that_is_half_as_large_as_usual_is_told_and_marked(self, town: Town, told: Told) -> None:
        for _ in range(3):
            make(town, told)
        for row in town.store.backups("shop", "dev"):
            town.store.change_backup(row.id, bytes=100)
        made = make(town, told)
        assert made.alarm == "it has 4 bytes, where 100 bytes are usual"
        assert ("backup_alarm", f"look at {made.id}: {made.alarm}") in told.events
        assert town.store.backups("shop", "dev")[0].alarm == made.alarm

    def test_an_emptied_database_of_the_same_size(self, town: Town, told: Told) -> None:
        make(town, told)
        town.database.holds["postgresql://db/shop"] = Content({"public.t": TableContent(0, "0")})
        assert make(town, told).alarm == "it holds 0 rows, the one before it 3"

    def test_damaged_files_of_the_server_keep_everything(self, town: Town, told: Told) -> None:
        rows = [made_and_verified(town, told) for _ in range(4)]

        def damaged(order: DumpOrder) -> Dump:
            raise PagesDamaged("pages with wrong checksums")

        real, town.database.dump = town.database.dump, damaged  # type: ignore[method-assign]
        with pytest.raises(BackupFailed, match="pages with wrong checksums"):
            make(town, told)
        town.database.dump = real  # type: ignore[method-assign]
        for _ in range(3):
            made_and_verified(town, told, keep=1)
        assert {b.id for b in rows} < {b.id for b in town.store.backups("shop", "dev")}
        assert told.kinds[-1] == "backups_frozen"
        town.store.change_backup(town.store.backups("shop", "dev")[0].id, kind=BackupKind.PHYSICAL)
        made_and_verified(town, told, keep=1)
        assert not {b.id for b in rows} & {b.id for b in town.store.backups("shop", "dev")}


class TestCopiesElsewhere:
    COPYING = Copying(
        "shop", "dev", CopyCommand(("rclone", "copy", "{path}"), ("TOKEN",), 60.0), {"TOKEN": Secret("s")}
    )

    def test_what_has_no_copy_is_copied_and_the_catalog_knows(self, town: Town, told: Told) -> None:
        rows = [make(town, told) for _ in range(2)]
        assert copy_all(town.world, self.COPYING, told) == []
        assert [order.dump for order in town.database.copies] == [Path(row.path) for row in reversed(rows)]
        assert town.database.copies[0].env == {"TOKEN": Secret("s")}
        assert all(row.copied_at for row in town.store.backups("shop", "dev"))
        assert copy_all(town.world, self.COPYING, told) == [] and len(town.database.copies) == 2

    def test_a_failure_is_tried_three_times_recorded_and_loses_nothing(self, town: Town, told: Told) -> None:
        made = make(town, told)
        town.database.copy_fault = "rclone failed (exit status 3): no route"
        before = town.clock.elapsed_s
        assert [row.id for row in copy_all(town.world, self.COPYING, told)] == [made.id]
        assert town.clock.elapsed_s - before == 35.0
        [row] = town.store.backups("shop", "dev")
        assert (row.state, row.copied_at, row.copy_error) == (UNVERIFIED, None, town.database.copy_fault)
        assert told.kinds[-1] == "backup_not_copied" and Path(made.path) in town.database.files
        town.database.copy_fault = None
        assert copy_all(town.world, self.COPYING, told) == []
        [row] = town.store.backups("shop", "dev")
        assert row.copied_at and row.copy_error is None

    def test_failed_ones_are_not_copied(self, town: Town, told: Told) -> None:
        town.database.fault = "down"
        with pytest.raises(BackupFailed):
            make(town, told)
        assert copy_all(town.world, self.COPYING, told) == [] and not town.database.copies


class TestTheCatalogAsItIs:
    def test_a_file_that_is_gone_or_cut_short_is_damage(self, town: Town, told: Told) -> None:
        good, gone, short = (make(town, told) for _ in range(3))
        town.database.files.pop(Path(gone.path))
        town.database.files[Path(short.path)] = 3
        before = town.store.backups("shop", "dev")
        seen = {b.id: b for b in as_they_are(town.store, town.database, "shop", "dev")}
        assert seen[good.id] == good
        assert (seen[gone.id].state, seen[short.id].state) == (DAMAGED, DAMAGED)
        assert seen[short.id].reason == "its file has 3 bytes instead of 4 (on demand)"
        assert town.store.backups("shop", "dev") == before

    def test_what_may_not_be_looked_at_is_no_damage(self, town: Town, told: Told) -> None:
        make(town, told)

        def denied(dump: Path) -> int | None:
            raise DatabaseError("cannot look at it: Permission denied")

        town.database.size_of = denied  # type: ignore[method-assign]
        [row] = as_they_are(town.store, town.database, "shop", "dev")
        assert (row.state, row.reason) == (UNVERIFIED, "on demand; cannot look at it: Permission denied")


class TestInADeploy:
    def test_its_entry_names_the_deployment_and_the_version(self, town: Town) -> None:
        ended = town.deploy("v1")
        [row] = town.store.backups("shop", "dev")
        assert (row.id, row.deployment, row.reason) == (ended.backup, ended.id, "before v1")
        assert town.database.orders[0].about["environment"] == "dev"

    def test_the_numbers_of_the_policy_are_used(self, town: Town, told: Told) -> None:
        town.policy = replace(town.policy, keep_backups=2, backup_deadline_s=7.0, backup_stall_s=3.0)
        for number in range(5):
            town.deploy(f"v{number}")
            verify(town, *town.store.backups("shop", "dev"))
        assert town.database.orders[0].limits == BackupLimits(7.0, 3.0)
        # When v4 was backed up, v3 was live and v2 its standby: the backup before v2 is needed beyond the two.
        left = [b.reason for b in town.store.backups("shop", "dev")]
        assert left == ["before v4", "before v3", "before v2"]

    def test_the_backup_of_what_stands_in_a_slot_outlives_any_number_of_later_ones(
        self, town: Town, told: Told
    ) -> None:
        first, second = town.deploy("v1"), town.deploy("v2")
        verify(town, *town.store.backups("shop", "dev"))
        for _ in range(12):
            last = made_and_verified(town, told, keep=1)
        prune(town.world, "shop", "dev", 1, told)
        left = {b.id for b in town.store.backups("shop", "dev")}
        assert left == {first.backup, second.backup, last.id}

    def test_a_backup_beside_it_does_not_push_its_own_out(self, town: Town, told: Told) -> None:
        town.policy = replace(town.policy, keep_backups=1)
        prober = town.prober.answer
        seen: list[Backup] = []

        def answer(port: int, path: str) -> Any:
            if not seen:
                seen.append(make(town, told, keep=1))
            return prober(port, path)

        town.prober.answer = answer
        ended = town.deploy("v1")
        assert ended.exit_status == 0 and seen
        assert {b.id for b in town.store.backups("shop", "dev")} == {ended.backup, seen[0].id}

    def test_a_failed_one_is_in_the_catalog_and_nothing_went_on(self, town: Town) -> None:
        town.deploy("v1")
        town.database.fault = "pg_dump failed: no"
        ended = town.deploy("v2")
        assert (ended.exit_status, ended.failed_step, ended.backup) == (30, "backup", None)
        row = town.store.backups("shop", "dev")[0]
        assert (row.state, row.deployment) == (FAILED, ended.id)
        assert row.reason == "before v2: pg_dump failed: no"

    def test_an_abort_meanwhile_is_no_failed_backup(self, town: Town) -> None:
        def stopped(order: DumpOrder) -> Dump:
            town.store.ask("d1", Wish.ABORT)
            assert order.stopped()
            raise DatabaseError("the backup was stopped on request")

        town.database.dump = stopped  # type: ignore[method-assign]
        ended = town.deploy("v1")
        assert (ended.state, ended.exit_status) == (DeploymentState.ABORTED, 130)
        assert town.store.backups("shop", "dev") == []

    def test_a_long_one_tells_how_far_it_is_but_not_each_time(self, town: Town) -> None:
        real = town.database.dump

        def slow(order: DumpOrder) -> Dump:
            for second in range(31):
                order.tell(BackupProgress(second * 1000, second * 5000, 1_000_000, float(second)))
            return real(order)

        town.database.dump = slow  # type: ignore[method-assign]
        ended = town.deploy("v1")
        told = [e for e in town.store.events(ended.id) if e.kind == "backup_progress"]
        assert [event.data["elapsed_s"] for event in told] == [5.0, 15.0, 25.0]
        assert told[0].message == (
            "backup: 25.0 kB read of a database of 1.00 MB, 5.00 kB written, 5.0 s, 5.00 kB/s"
        )

    def test_a_malformed_url_fails_the_step_and_not_the_program(self, town: Town) -> None:
        def refuse(order: DumpOrder) -> Dump:
            raise MalformedUrl("the database URL is none", hint="mend it")

        town.database.dump = refuse  # type: ignore[method-assign]
        ended = town.deploy("v1")
        assert (ended.exit_status, ended.failed_step, ended.hint) == (30, "backup", "mend it")
