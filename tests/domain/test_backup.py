"""Backups: their names, what a look at the disk makes of them, and which of them may go."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.domain.backup import (
    WHOLE,
    Backup,
    BackupKind,
    BackupProgress,
    BackupState,
    as_found,
    backup_id,
    newest_whole,
)
from backstay.domain.deployment import Deployment, DeploymentKind, DeploymentState
from backstay.domain.retention import needed, to_prune
from backstay.domain.slot import Slot, SlotMapping, Slots

TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC))
UNVERIFIED, VERIFIED = BackupState.UNVERIFIED, BackupState.VERIFIED
FAILED, DAMAGED = BackupState.FAILED, BackupState.DAMAGED


def backup(
    number: int, state: BackupState = UNVERIFIED, *, pinned: bool = False, deployment: str | None = None
) -> Backup:
    """A backup made in second `number` of an hour."""
    at = f"2026-03-01T12:{number // 60:02d}:{number % 60:02d}.000Z"
    return Backup(f"b{number:03d}", "shop", "prod", at, BackupKind.LOGICAL, state, 7, f"/b/{number}", "ab", "why",
                  deployment, pinned)  # fmt: skip


def deployment(id_: str, release: str, state: DeploymentState, made: str | None = None) -> Deployment:
    return Deployment(
        id=id_, app="shop", environment="prod", kind=DeploymentKind.DEPLOY, state=state, version="v", release=release,
        previous=None, token=1, requested_by="ann@here", created_at="2026-03-01T12:00:00.000Z", backup=made,
    )  # fmt: skip


class TestNames:
    def test_application_environment_and_time_down_to_the_millisecond(self) -> None:
        at = datetime(2026, 3, 1, 9, 5, 7, 123987, tzinfo=UTC)
        assert backup_id("shop", "prod", at) == "shop_prod_20260301_090507123"

    def test_in_utc_whatever_the_zone(self) -> None:
        at = datetime(2026, 3, 1, 0, 30, 0, tzinfo=timezone(timedelta(hours=2)))
        assert backup_id("shop", "prod", at) == "shop_prod_20260228_223000000"

    def test_milliseconds_keep_their_zeros(self) -> None:
        at = datetime(2026, 3, 1, 9, 5, 7, 4000, tzinfo=UTC)
        assert backup_id("shop", "prod", at).endswith("_090507004")

    @given(TIMES, TIMES)
    def test_they_sort_as_their_times_do(self, one: datetime, two: datetime) -> None:
        first, second = sorted((one, two))
        assert backup_id("shop", "prod", first) <= backup_id("shop", "prod", second)

    @given(TIMES)
    def test_a_millisecond_later_is_another_name(self, at: datetime) -> None:
        later = at + timedelta(milliseconds=1)
        assert backup_id("shop", "prod", at) != backup_id("shop", "prod", later)


class TestLookingAtTheDisk:
    def test_what_is_there_in_full_size_stays_as_it_is(self) -> None:
        assert as_found(backup(1), 7) == backup(1)

    def test_a_missing_file_is_damage_and_the_reason_says_so(self) -> None:
        found = as_found(backup(1, VERIFIED), None)
        assert (found.state, found.reason) == (DAMAGED, "its file is missing (why)")

    @pytest.mark.parametrize("size", [0, 6, 8])
    def test_so_is_another_size(self, size: int) -> None:
        found = as_found(backup(1), size)
        assert (found.state, found.reason) == (DAMAGED, f"its file has {size} bytes instead of 7 (why)")

    def test_a_failed_one_has_no_file_to_miss(self) -> None:
        assert as_found(backup(1, FAILED), None) == backup(1, FAILED)

    def test_the_newest_whole_one_is_neither_failed_nor_damaged(self) -> None:
        rows = [backup(4, FAILED), backup(3, DAMAGED), backup(2), backup(1, VERIFIED)]
        assert newest_whole(rows) == backup(2)
        assert newest_whole(rows[:2]) is None


class TestWhatIsNeeded:
    RUNNING, DONE = DeploymentState.RUNNING, DeploymentState.SUCCEEDED

    def slots(self) -> Slots:
        blue = SlotMapping("r1", "v1", {}, deployment="d3", since="")
        green = SlotMapping("r2", "v2", {}, deployment="d2", since="")
        return Slots(Slot.BLUE, {Slot.BLUE: blue, Slot.GREEN: green})

    def test_deployments_that_filled_a_slot_or_are_under_way(self) -> None:
        rows = [
            deployment("d0", "r0", self.DONE, "b0"),
            deployment("d2", "r2", self.DONE, "b2"),
            deployment("d4", "r4", self.RUNNING),
        ]
        assert needed(self.slots(), rows) == {"d2", "d3", "d4"}

    def test_a_rollback_filled_the_slot_so_the_backup_of_the_release_itself_counts(self) -> None:
        rows = [
            deployment("d0", "r1", self.DONE, "b0"),
            deployment("d1", "r1", self.DONE, "b1"),
            deployment("d2", "r2", self.DONE, "b2"),
            deployment("d3", "r1", self.DONE),
        ]
        assert needed(self.slots(), rows) == {"d1", "d2", "d3"}


class TestWhatMayGo:
    def test_nothing_while_there_are_no_more_than_are_kept(self) -> None:
        assert to_prune([backup(n) for n in range(10)], keep=10) == ()

    def test_the_oldest_go_first(self) -> None:
        assert [b.id for b in to_prune([backup(n) for n in range(13)], keep=10)] == ["b000", "b001", "b002"]

    def test_unverified_ones_never_push_the_verified_ones_out(self) -> None:
        rows = [*(backup(n, VERIFIED) for n in range(3)), *(backup(n) for n in range(10, 15))]
        assert [b.id for b in to_prune(rows, keep=2)] == ["b000", "b010", "b011", "b012"]

    def test_ten_failed_ones_push_nothing_out(self) -> None:
        rows = [*(backup(n) for n in range(10)), *(backup(n, FAILED) for n in range(20, 30))]
        assert to_prune(rows, keep=10) == ()

    def test_old_failures_are_forgotten(self) -> None:
        rows = [backup(n, FAILED) for n in range(12)]
        assert [b.id for b in to_prune(rows, keep=10)] == ["b000", "b001"]

    def test_a_damaged_one_neither_goes_nor_counts(self) -> None:
        rows = [backup(0), backup(1), *(backup(n, DAMAGED) for n in range(5, 9))]
        assert to_prune(rows, keep=2) == ()

    def test_of_equal_times_the_names_decide(self) -> None:
        rows = [replace(backup(1), id=name) for name in "cab"]
        assert [b.id for b in to_prune(rows, keep=1)] == ["a", "b"]


ROWS = st.lists(
    st.builds(
        backup,
        st.integers(0, 40),
        st.sampled_from(BackupState),
        pinned=st.booleans(),
        deployment=st.sampled_from([None, "d1", "d2", "d3"]),
    ),
    unique_by=lambda b: b.id,
    max_size=40,
)
KEEP = st.integers(1, 12)
NEEDED = st.sets(st.sampled_from(["d1", "d2"]))


class TestWhateverTheCatalog:
    """Property tests of pruning."""

    @given(ROWS, KEEP, NEEDED)
    def test_what_must_stay_stays(self, rows: list[Backup], keep: int, needed: set[str]) -> None:
        gone = to_prune(rows, keep, needed)
        assert newest_whole(rows) not in gone
        assert newest_whole(b for b in rows if b.state is VERIFIED) not in gone
        assert not [b for b in gone if b.pinned or b.deployment in needed or b.state is DAMAGED]
        for kinds in (WHOLE, {VERIFIED}):
            before = [b for b in rows if b.state in kinds]
            after = [b for b in before if b not in gone]
            assert len(after) >= min(keep, len(before))

    @given(ROWS, KEEP, NEEDED)
    def test_nothing_that_stays_unasked_is_older_than_what_goes(
        self, rows: list[Backup], keep: int, needed: set[str]
    ) -> None:
        gone = to_prune(rows, keep, needed)
        free = [b for b in rows if not b.pinned and b.deployment not in needed and b.state is UNVERIFIED]
        newest_gone = max((b.id for b in gone if b.state is UNVERIFIED), default="")
        assert all(b.id > newest_gone for b in free if b not in gone)

    @given(ROWS, KEEP, NEEDED, st.randoms())
    def test_the_order_of_the_rows_does_not_matter_and_once_is_enough(
        self, rows: list[Backup], keep: int, needed: set[str], random: object
    ) -> None:
        gone = to_prune(rows, keep, needed)
        shuffled = list(rows)
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        assert to_prune(shuffled, keep, needed) == gone
        assert to_prune([b for b in rows if b not in gone], keep, needed) == ()


def test_progress_for_people() -> None:
    half = BackupProgress(written=20_000_000, read=400_000_000, database_bytes=2_000_000_000, elapsed_s=4.0)
    assert str(half) == "400 MB read of a database of 2.00 GB, 20.0 MB written, 4.0 s, 100 MB/s"
    blind = BackupProgress(written=20_000_000, read=None, database_bytes=2_000_000_000, elapsed_s=4.0)
    assert str(blind) == "a database of 2.00 GB, 20.0 MB written, 4.0 s, 5.00 MB/s"
    assert BackupProgress(0, None, 0, 0.0).bytes_per_s == 0
