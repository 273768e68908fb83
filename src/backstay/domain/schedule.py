"""Schedules: what is to be done for an environment from time to time, when it is due, and what was missed.

Times are aware. When a cron expression fires is worked out elsewhere; here come only the moments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from backstay.domain.duration import format_duration
from backstay.domain.lease import Owner
from backstay.domain.objective import BACKUP_SHARE, in_future, is_ahead
from backstay.domain.size import format_bytes

MISSED_AFTER_S: Final = 300.0
"""A run that begins this much after its time was missed, and people are told."""

RETRY_S: Final = (60.0, 300.0, 900.0, 3600.0)
"""How long to wait after the first, second … failure in a row; the last one holds for all further ones."""


class Duty(StrEnum):
    """What has to be done. The first three are done by `serve`, the rest by people."""

    BACKUP = "backup"
    RESTORE_DRILL = "restore-drill"
    RECOVERY = "recovery"
    ROLLBACK_DRILL = "rollback-drill"
    LOG_REVIEW = "log-review"
    UPDATE_REVIEW = "update-review"


PERIODS: Final = {
    Duty.LOG_REVIEW: timedelta(days=7),
    Duty.ROLLBACK_DRILL: timedelta(days=31),
    Duty.UPDATE_REVIEW: timedelta(days=92),
    Duty.RESTORE_DRILL: timedelta(days=366),
}
"""How often each is due at the latest: weekly, monthly, quarterly, annually."""

ABOUT: Final = {
    Duty.LOG_REVIEW: "read the history, the events and the worker logs of the week",
    Duty.ROLLBACK_DRILL: "roll back and forth, to know that it works",
    Duty.UPDATE_REVIEW: "bring Backstay, workflows and documents up to date",
    Duty.RESTORE_DRILL: "restore the newest backup, boot the live release on it, and measure",
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """Cron expressions, in UTC, of what `serve` does for an environment; None: never by itself."""

    backup: str | None = "0 2 * * *"
    restore_drill: str | None = "0 4 1 * *"


class Outcome(StrEnum):
    """`LOST`: the one who ran it died."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class DutyRun:
    """One run of a duty. Times are RFC 3339 UTC; `owner` is who runs or ran it, `detail` is for people."""

    id: int
    app: str
    environment: str
    duty: Duty
    due_at: str | None
    began_at: str
    owner: Owner
    outcome: Outcome = Outcome.RUNNING
    ended_at: str | None = None
    detail: str = ""

    @property
    def finished(self) -> datetime | None:
        return datetime.fromisoformat(self.ended_at) if self.ended_at else None


@dataclass(frozen=True, slots=True)
class Due:
    """A run that should begin now. `at` is since when; `missed` when that is too long ago to be in time."""

    why: str
    at: datetime
    missed: bool = False


@dataclass(frozen=True, slots=True)
class Cover:
    """How an environment's database is covered by backups at `moment`.

    `newest` is the moment of the newest whole backup; `slot` the last scheduled moment that is over, None without a
    schedule; `since` when the schedule began to hold for us: what was due before that was not ours to do.
    `protected` says that WAL is received now, so that backups need not hold the RPO. `base_wanted` is why a base
    backup is wanted at once, if it is.
    """

    moment: datetime
    since: datetime
    slot: datetime | None
    newest: datetime | None
    rpo_s: float
    protected: bool = False
    base_wanted: str | None = None


def backup_due(cover: Cover) -> Due | None:
    """Whether a backup should begin, whatever became of earlier attempts (see `may_try`)."""
    now, newest, slot = cover.moment, cover.newest, cover.slot
    if newest is None:
        return Due("there is no backup yet", now)
    if is_ahead(newest, now):
        return Due(f"the newest backup is dated {in_future(newest)}", now)
    if slot is not None and slot >= cover.since and newest < slot:
        missed = (now - slot).total_seconds() > MISSED_AFTER_S
        return Due(f"scheduled for {slot:%Y-%m-%d %H:%M} UTC", slot, missed)
    if cover.base_wanted is not None:
        return Due(cover.base_wanted, now)
    demanded = newest + timedelta(seconds=cover.rpo_s * BACKUP_SHARE)
    if not cover.protected and now >= demanded:
        left = f"an RPO of {format_duration(cover.rpo_s)} allows no older one"
        return Due(left, demanded, (now - newest).total_seconds() > cover.rpo_s)
    return None


def too_slow_for(rpo_s: float, took_s: float | None) -> str | None:
    """Why backups alone cannot hold an RPO, by how long the last one took; None when they can."""
    if took_s is None or took_s <= rpo_s * (1 - BACKUP_SHARE):
        return None
    return f"a backup takes {format_duration(took_s)}, so backups alone cannot hold an RPO of {format_duration(rpo_s)}"


def base_wanted(*, has_base: bool, gap: str | None, wal_bytes: int, limit_bytes: int) -> str | None:
    """Why a base backup is wanted now, where WAL is received: without one WAL is worth nothing, and what must be
    replayed takes time. `wal_bytes` is what was written since the newest base."""
    if not has_base:
        return "there is no base backup to replay WAL on"
    if gap is not None:
        return f"the WAL has a gap: {gap}"
    if wal_bytes >= limit_bytes:
        return f"{format_bytes(wal_bytes)} of WAL since the last base backup"
    return None


def may_try(runs: Sequence[DutyRun], now: datetime) -> bool:
    """Whether the time to wait after failures is over. `runs` are those of one duty, newest first."""
    failed = 0
    for run in runs:
        if run.outcome not in (Outcome.FAILED, Outcome.LOST):
            break
        failed += 1
    if not failed:
        return not (runs and runs[0].outcome is Outcome.RUNNING)
    ended = runs[0].finished
    wait_s = RETRY_S[min(failed, len(RETRY_S)) - 1]
    return ended is None or (now - ended).total_seconds() >= wait_s or ended > now


def scheduled_due(
    slot: datetime | None, since: datetime, last_done: datetime | None, now: datetime
) -> Due | None:
    """Whether something else than a backup should run by its schedule: once for each time it fires. A `last_done`
    in the future does not count."""
    known = last_done if last_done is not None and not is_ahead(last_done, now) else None
    if slot is None or slot < since or (known is not None and known >= slot):
        return None
    late = (now - slot).total_seconds() > MISSED_AFTER_S
    return Due(f"scheduled for {slot:%Y-%m-%d %H:%M} UTC", slot, late)


class DutyState(StrEnum):
    """`DUE` in the last tenth of its period, `OVERDUE` after it."""

    DONE = "done"
    DUE = "due"
    OVERDUE = "overdue"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a duty stands: when it was last done, and when it is due next."""

    duty: Duty
    state: DutyState
    last_done: datetime | None
    due_at: datetime


def standing(duty: Duty, last_done: datetime | None, since: datetime, now: datetime) -> Standing:
    """Where one of the regular duties stands. One that was never done counts from `since`, when there was an
    environment to do it for; so does one that was done in the future."""
    period = PERIODS[duty]
    if last_done is not None and is_ahead(last_done, now):
        last_done = None
    due_at = (last_done or since) + period
    due_soon = last_done is None or now >= due_at - period / 10
    state = DutyState.DUE if due_soon else DutyState.DONE
    if now >= due_at:
        state = DutyState.OVERDUE
    return Standing(duty, state, last_done, due_at)
