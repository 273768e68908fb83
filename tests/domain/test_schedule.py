"""Schedules: what is due, what was missed, and how long to wait after a failure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from backstay.domain.lease import Owner
from backstay.domain.schedule import (
    PERIODS,
    RETRY_S,
    Cover,
    Duty,
    DutyRun,
    DutyState,
    Outcome,
    backup_due,
    base_wanted,
    may_try,
    scheduled_due,
    standing,
    too_slow_for,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NIGHT = datetime(2026, 11, 23, 2, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=900)
HOUR = 3600.0


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def cover(
    newest: datetime | None,
    *,
    now: datetime = NOW,
    since: datetime = LONG_AGO,
    slot: datetime | None = NIGHT,
    rpo_s: float = 24 * HOUR,
    protected: bool = False,
    wanted: str | None = None,
) -> Cover:
    return Cover(now, since, slot, newest, rpo_s, protected, wanted)


def run(outcome: Outcome, ended: datetime | None = NOW) -> DutyRun:
    return DutyRun(
        1, "shop", "prod", Duty.BACKUP, None, ago(60).isoformat(), Owner("ann", "here", 1, 1, "boot"), outcome,
        ended.isoformat() if ended else None,
    )  # fmt: skip


class TestBackups:
    def test_without_any_backup_one_is_due_at_once(self) -> None:
        due = backup_due(cover(None, slot=None, protected=True))
        assert due is not None and due.why == "there is no backup yet" and not due.missed

    def test_the_schedule_wants_one_that_began_after_its_time(self) -> None:
        due = backup_due(cover(NIGHT - timedelta(seconds=1)))
        assert due is not None and (due.why, due.at) == ("scheduled for 2026-11-23 02:00 UTC", NIGHT)
        assert backup_due(cover(NIGHT)) is None

    @pytest.mark.parametrize(("late_s", "missed"), [(0, False), (300, False), (301, True), (9 * HOUR, True)])
    def test_long_after_its_time_it_was_missed(self, late_s: float, missed: bool) -> None:
        """The machine slept, or nothing ran: it is made up for, and people are told."""
        due = backup_due(cover(NIGHT - timedelta(hours=5), now=NIGHT + timedelta(seconds=late_s)))
        assert due is not None and due.missed is missed

    def test_what_was_scheduled_before_anybody_watched_was_not_missed(self) -> None:
        assert backup_due(cover(NIGHT - timedelta(hours=2), since=NIGHT + timedelta(seconds=1))) is None

    def test_a_backup_that_a_wrong_clock_dated_holds_no_other_back(self) -> None:
        due = backup_due(cover(NOW + timedelta(days=3), slot=None, protected=True))
        assert due is not None and due.at == NOW and not due.missed
        assert "2026-11-26 12:00 UTC, in the future" in due.why
        assert backup_due(cover(NOW + timedelta(seconds=59))) is None

    @pytest.mark.parametrize("rpo_s", [900.0, HOUR, 24 * HOUR])
    def test_three_quarters_of_the_rpo_are_the_age_at_which_the_next_begins(self, rpo_s: float) -> None:
        assert backup_due(cover(ago(rpo_s * 0.75 - 1), slot=None, rpo_s=rpo_s)) is None
        due = backup_due(cover(ago(rpo_s * 0.75), slot=None, rpo_s=rpo_s))
        assert due is not None and "allows no older one" in due.why and not due.missed
        late = backup_due(cover(ago(rpo_s + 1), slot=None, rpo_s=rpo_s))
        assert late is not None and late.missed

    def test_received_wal_holds_the_rpo_but_not_the_schedule(self) -> None:
        assert backup_due(cover(ago(HOUR), slot=None, rpo_s=900, protected=True)) is None
        assert backup_due(cover(NIGHT - timedelta(hours=1), rpo_s=900, protected=True)) is not None

    def test_a_base_backup_that_is_wanted_is_due_at_once(self) -> None:
        due = backup_due(cover(ago(60), protected=True, wanted="the WAL has a gap: x is missing"))
        assert due is not None and "gap" in due.why

    def test_no_backup_is_older_than_the_rpo_when_each_takes_less_than_a_quarter(self) -> None:
        """A day played through, minute by minute, for every target and several durations."""
        for rpo_s, share in product((900.0, HOUR, 24 * HOUR), (0.0, 0.1, 0.24)):
            took = timedelta(seconds=rpo_s * share)
            newest, running, worst = NIGHT, None, 0.0
            for step in range(3 * 24 * 60):
                now = NIGHT + timedelta(minutes=step)
                slot = now.replace(hour=2, minute=0)
                slot = slot if slot <= now else slot - timedelta(days=1)
                if running is not None and now >= running + took:
                    newest, running = running, None
                worst = max(worst, (now - newest).total_seconds())
                if running is None and backup_due(cover(newest, now=now, slot=slot, rpo_s=rpo_s)):
                    running = now
            assert worst <= rpo_s + 60, (rpo_s, share)

    @pytest.mark.parametrize(
        ("took_s", "slow"), [(None, False), (60, False), (225, False), (226, True), (900, True)]
    )
    def test_a_backup_that_takes_more_than_the_last_quarter_cannot_hold_it(
        self, took_s: float | None, slow: bool
    ) -> None:
        assert (too_slow_for(900, took_s) is not None) is slow


@pytest.mark.parametrize(
    ("has_base", "gap", "wal_bytes", "said"),
    [
        (False, None, 0, "there is no base backup"),
        (True, "x is missing", 0, "the WAL has a gap: x is missing"),
        (True, None, 10 << 30, "10.7 GB of WAL since the last base backup"),
        (True, None, (10 << 30) - 1, None),
    ],
)
def test_a_base_is_wanted_for_want_of_one_for_a_gap_and_by_volume(
    has_base: bool, gap: str | None, wal_bytes: int, said: str | None
) -> None:
    found = base_wanted(has_base=has_base, gap=gap, wal_bytes=wal_bytes, limit_bytes=10 << 30)
    assert found is None if said is None else (found or "").startswith(said)


class TestTryingAgain:
    def test_at_once_when_nothing_failed(self) -> None:
        assert may_try([], NOW) and may_try([run(Outcome.DONE)], NOW)

    def test_never_beside_itself(self) -> None:
        assert not may_try([run(Outcome.RUNNING, None), run(Outcome.FAILED, ago(9e9))], NOW)

    @pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.LOST])
    @pytest.mark.parametrize("failures", range(1, 8))
    def test_longer_after_every_failure_up_to_an_hour(self, failures: int, outcome: Outcome) -> None:
        runs = [run(outcome)] * failures + [run(Outcome.DONE, ago(9e6))]
        wait_s = RETRY_S[min(failures, 4) - 1]
        assert not may_try(runs, NOW + timedelta(seconds=wait_s - 1))
        assert may_try(runs, NOW + timedelta(seconds=wait_s))

    def test_a_clock_that_jumped_back_holds_nothing_up(self) -> None:
        assert may_try([run(Outcome.FAILED, NOW + timedelta(days=3))], NOW)


class TestScheduled:
    @pytest.mark.parametrize(
        ("slot", "since", "last", "due"),
        [
            (None, LONG_AGO, None, False),
            (NIGHT, NOW, None, False),
            (NIGHT, LONG_AGO, None, True),
            (NIGHT, LONG_AGO, NIGHT - timedelta(days=1), True),
            (NIGHT, LONG_AGO, NIGHT, False),
            (NIGHT, LONG_AGO, NOW, False),
            (NIGHT, LONG_AGO, NOW + timedelta(seconds=60), False),
            (NIGHT, LONG_AGO, NOW + timedelta(days=3), True),
        ],
    )
    def test_once_for_each_time_it_fires(
        self, slot: datetime | None, since: datetime, last: datetime | None, due: bool
    ) -> None:
        found = scheduled_due(slot, since, last, NOW)
        assert (found is not None) is due
        assert found is None or found.missed


class TestStanding:
    @pytest.mark.parametrize("duty", PERIODS)
    def test_over_its_period(self, duty: Duty) -> None:
        period = PERIODS[duty]
        for share, state in (
            (0, "done"),
            (0.89, "done"),
            (0.9, "due"),
            (0.999, "due"),
            (1, "overdue"),
            (9, "overdue"),
        ):
            found = standing(duty, NOW - period * share, LONG_AGO, NOW)
            assert found.state == state
            assert found.due_at == NOW - period * share + period

    def test_never_done_it_is_due_now_and_overdue_a_period_after_there_was_something_to_do_it_for(
        self,
    ) -> None:
        assert standing(Duty.LOG_REVIEW, None, NOW, NOW).state is DutyState.DUE
        assert standing(Duty.LOG_REVIEW, None, ago(7 * 24 * HOUR), NOW).state is DutyState.OVERDUE

    def test_what_was_done_in_the_future_is_as_good_as_never_done(self) -> None:
        ahead = NOW + timedelta(days=3)
        assert standing(Duty.LOG_REVIEW, ahead, ago(8 * 24 * HOUR), NOW).state is DutyState.OVERDUE

    def test_weekly_monthly_quarterly_annually(self) -> None:
        order = (Duty.LOG_REVIEW, Duty.ROLLBACK_DRILL, Duty.UPDATE_REVIEW, Duty.RESTORE_DRILL)
        assert [PERIODS[duty].days for duty in order] == [7, 31, 92, 366]
