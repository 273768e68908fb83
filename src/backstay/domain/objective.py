"""Objectives: how long a recovery may take (RTO) and how much work may be lost (RPO), and whether both hold now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from backstay.domain.duration import format_duration

BACKUP_SHARE: Final = 0.75
"""A new backup is due when this share of the RPO is used up: the rest is for making it."""

ALARM_SHARE: Final = 0.5
"""With continuous protection people hear of a fault when this share of the RPO is used up, not when all of it is."""

AHEAD: Final = timedelta(minutes=1)
"""How far the clocks of two machines may differ."""


def is_ahead(at: datetime, now: datetime) -> bool:
    """Whether a moment of the past lies in the future: it was read from a wrong clock, so nobody knows when it was."""
    return at - now > AHEAD


@dataclass(frozen=True, slots=True)
class Objective:
    """What an environment promises, in seconds: the recovery time and the recovery point objective."""

    rto_s: float
    rpo_s: float


@dataclass(frozen=True, slots=True)
class Protection:
    """What could be restored if the database were gone at `moment`. Aware times; None where there is nothing.

    `backup` is the moment of the newest whole backup. Of what was committed until `received` everything lies here as
    WAL, with a base backup and no gap before it.
    """

    moment: datetime
    backup: datetime | None = None
    received: datetime | None = None

    @property
    def recoverable(self) -> datetime | None:
        """The last moment to which everything could be brought back; None when nothing could, or nobody knows."""
        known = (
            at for at in (self.backup, self.received) if at is not None and not is_ahead(at, self.moment)
        )
        return max(known, default=None)

    @property
    def misdated(self) -> datetime | None:
        """The moment of a wrong clock, where there is no other; None where there is."""
        if self.recoverable is not None:
            return None
        return max((at for at in (self.backup, self.received) if at is not None), default=None)

    @property
    def exposure_s(self) -> float | None:
        """How much work would be lost now, in seconds; None when all of it would, or nobody knows."""
        last = self.recoverable
        return None if last is None else max(0.0, (self.moment - last).total_seconds())


class Standing(StrEnum):
    """`UNMEASURED`: nothing has shown yet whether the objective can be met."""

    MET = "met"
    BROKEN = "broken"
    UNMEASURED = "unmeasured"


@dataclass(frozen=True, slots=True)
class Measure:
    """One objective against what was measured, in seconds; `why` is a clause for people."""

    standing: Standing
    target_s: float
    actual_s: float | None
    why: str


def rpo(objective: Objective, protection: Protection) -> Measure:
    """Whether no more work than promised would be lost if the database were gone now."""
    lost_s, target_s = protection.exposure_s, objective.rpo_s
    if protection.misdated is not None:
        why = (
            f"what there is is dated {in_future(protection.misdated)}, so nobody knows how much would be lost"
        )
        return Measure(Standing.BROKEN, target_s, None, why)
    if lost_s is None:
        return Measure(Standing.BROKEN, target_s, None, "there is no backup: everything would be lost")
    standing = Standing.MET if lost_s <= target_s else Standing.BROKEN
    received = protection.received is not None and protection.recoverable == protection.received
    source = "of the WAL received" if received else "of the newest backup"
    why = f"{format_duration(lost_s)} of work would be lost (age {source}), {_allowed(target_s)}"
    return Measure(standing, target_s, lost_s, why)


def rto(objective: Objective, drilled_s: float | None) -> Measure:
    """Whether a recovery takes no longer than promised, by the last drill that brought the application back.

    `drilled_s` is how long that took; None when no drill did.
    """
    target_s = objective.rto_s
    if drilled_s is None:
        return Measure(Standing.UNMEASURED, target_s, None, "no drill has measured it yet")
    standing = Standing.MET if drilled_s <= target_s else Standing.BROKEN
    why = f"the last drill took {format_duration(drilled_s)}, {_allowed(target_s)}"
    return Measure(standing, target_s, drilled_s, why)


def in_future(at: datetime) -> str:
    """A moment that a wrong clock gave, for people."""
    return f"{at:%Y-%m-%d %H:%M} UTC, in the future (a clock was or is wrong)"


def _allowed(target_s: float) -> str:
    return f"{format_duration(target_s)} are allowed"
