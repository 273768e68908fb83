"""Backups: their names, what a look at the disk makes of them, and which of them may go."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.domain.backup import (
    Backup,
    BackupKind,
    BackupProgress,
    BackupState,
    alarm,
    as_found,
    backup_id,
    newest_whole,
    notice,
    obstacle_to_physical,
)
from backstay.domain.server import ServerFacts

TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC))
UNVERIFIED, VERIFIED = BackupState.UNVERIFIED, BackupState.VERIFIED
FAILED, DAMAGED = BackupState.FAILED, BackupState.DAMAGED


def backup(
    number: int, state: BackupState = UNVERIFIED, *, pinned: bool = False, deployment: str | None = None
) -> Backup:
    """A backup made in second `number` of an hour."""
    at = f"2026-03-01T12:{number // 60:02d}:{number % 60:02d}.000Z"
    return Backup(f"b{number:03d}", "shop", "prod", at, BackupKind.LOGICAL, state, 7, f"/b/{number}", "ab", "why",
                  deployment, pinned, number=number)  # fmt: skip


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


class TestAlarms:
    """What looks like a wrong, emptied or half-hidden database."""

    def made(self, size: int, **more: object) -> Backup:
        return replace(backup(9), bytes=size, **more)  # type: ignore[arg-type]

    def test_less_than_half_of_the_median_of_the_last_five(self) -> None:
        sizes = [1_000_000, 100, 100, 110, 90, 5000]
        before = [replace(backup(n), bytes=size) for n, size in enumerate(sizes)]
        assert alarm(self.made(50), before) is None
        assert alarm(self.made(49), before) == "it has 49 bytes, where 100 bytes are usual"

    def test_failed_and_damaged_ones_and_those_of_the_other_kind_do_not_count(self) -> None:
        before = [backup(1, FAILED), backup(2, DAMAGED), replace(backup(3), kind=BackupKind.PHYSICAL)]
        assert alarm(self.made(1), [replace(each, bytes=1000) for each in before]) is None

    def test_the_first_one_has_nothing_to_be_compared_with(self) -> None:
        assert alarm(self.made(1), []) is None

    def test_rows_that_are_gone_although_the_size_is_not(self) -> None:
        assert alarm(self.made(7), [backup(1)], 0, 1000) == "it holds 0 rows, the one before it 1000"
        assert alarm(self.made(7), [backup(1)], 500, 1000) is None
        assert alarm(self.made(7), [backup(1)], 0, 0) is None


class TestNotices:
    """What is told for as long as it is so."""

    def test_only_on_the_disk_of_the_database(self) -> None:
        assert "lie on the database's own disk" in (notice(replace(backup(1), same_disk=True)) or "")
        assert "may lie on" in (notice(backup(1)) or "")
        assert notice(replace(backup(1), same_disk=False)) is None
        assert notice(replace(backup(1), same_disk=True, copied_at="2026-03-01T12:00:00.000Z")) is None
        assert notice(None) is None

    def test_a_copy_that_failed_and_an_alarm_go_before(self) -> None:
        failed = replace(backup(1), same_disk=True, copy_error="rclone failed")
        assert (notice(failed) or "").endswith("was not copied elsewhere: rclone failed")
        assert notice(replace(failed, alarm="it is small")) == "look at the backup b001: it is small"


class TestChoosingTheKind:
    FACTS = ServerFacts(
        "15.6",
        15,
        "77",
        "shop",
        800,
        "UTF8",
        "C",
        {},
        (),
        cluster_bytes=1000,
        may_replicate=True,
        wal_level="replica",
    )

    def test_a_role_that_may_and_a_server_that_is_mostly_ours(self) -> None:
        assert obstacle_to_physical(self.FACTS, ordered=False) is None

    @pytest.mark.parametrize(
        ("change", "why", "ordered"),
        [
            ({"server_major": 14}, "PostgreSQL 14", True),
            ({"may_replicate": False}, "REPLICATION", True),
            ({"wal_level": "minimal"}, "minimal", True),
            ({"tablespaces": ("fast",)}, "fast", True),
            ({"in_recovery": True}, "standby", False),
            ({"cluster_bytes": 2000}, "other databases", False),
            ({"cluster_bytes": None}, "other databases", False),
        ],
    )
    def test_what_stands_in_the_way(self, change: dict[str, object], why: str, ordered: bool) -> None:
        facts = replace(self.FACTS, **change)  # type: ignore[arg-type]
        assert why in (obstacle_to_physical(facts, ordered=False) or "")
        assert (obstacle_to_physical(facts, ordered=True) is not None) == ordered


def test_an_estimate_where_one_can_be_made() -> None:
    half = BackupProgress(20_000_000, 400_000_000, 2_000_000_000, elapsed_s=4.0, expected=800_000_000)
    assert half.left_s == pytest.approx(4.0) and str(half).endswith("100 MB/s, about 4.0 s left")
    assert str(half).startswith("400 MB read of about 800 MB, ")
    assert replace(half, elapsed_s=1.0).left_s is None, "too early"
    assert replace(half, read=900_000_000).left_s is None, "more than was expected"
    assert replace(half, read=None).left_s is None


def test_progress_for_people() -> None:
    half = BackupProgress(written=20_000_000, read=400_000_000, database_bytes=2_000_000_000, elapsed_s=4.0)
    assert str(half) == "400 MB read of a database of 2.00 GB, 20.0 MB written, 4.0 s, 100 MB/s"
    blind = BackupProgress(written=20_000_000, read=None, database_bytes=2_000_000_000, elapsed_s=4.0)
    assert str(blind) == "a database of 2.00 GB, 20.0 MB written, 4.0 s, 5.00 MB/s"
    assert BackupProgress(0, None, 0, 0.0).bytes_per_s == 0
