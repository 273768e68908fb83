"""Drills: a recovery or a rollback done on purpose, what it measured, and whether that is good enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from backstay.domain.duration import format_duration
from backstay.domain.objective import Objective, in_future, is_ahead

TREND: Final = 10
"""How many drills a trend is made of."""


class DrillKind(StrEnum):
    RESTORE = "restore"
    ROLLBACK = "rollback"


class Part(StrEnum):
    """What a drill proves, in order; a drill whose later parts cannot take place says so by `skipped`."""

    FRESH = "fresh"
    RESTORED = "restored"
    VERIFIED = "verified"
    BOOTED = "booted"
    SMOKED = "smoked"
    CANARY = "canary"
    TARGETS = "targets"


@dataclass(frozen=True, slots=True)
class Proof:
    """How one part of a drill ended: `ok` None when it was skipped; `detail` says what was seen, for people."""

    part: str
    ok: bool | None
    detail: str
    took_s: float | None = None


@dataclass(frozen=True, slots=True)
class Drill:
    """One row of the evidence. Times are RFC 3339 UTC; durations seconds, None when not measured.

    `rto_s` is from the beginning to an application that answers, `rpo_s` how old the restored data was then. A rollback
    drill has no `rpo_s`. `subject` is the backup restored, or the release switched to.
    """

    id: int
    app: str
    environment: str
    kind: DrillKind
    began_at: str
    ended_at: str
    ok: bool
    summary: str
    subject: str | None = None
    release: str | None = None
    rto_s: float | None = None
    rpo_s: float | None = None
    rto_target_s: float | None = None
    rpo_target_s: float | None = None
    proofs: tuple[Proof, ...] = ()
    requested_by: str = ""
    path: str = ""


def freshness(recovered: datetime, now: datetime, objective: Objective) -> Proof:
    """Whether what a drill would restore, or did, is new enough: a good backup that is old proves nothing.

    `recovered` is the moment of its data, by a row that was written then where there is one (the canary).
    """
    if is_ahead(recovered, now):
        return Proof(
            Part.FRESH, False, f"its data is dated {in_future(recovered)}, so nobody knows how old it is"
        )
    age_s = max(0.0, (now - recovered).total_seconds())
    allowed = f"the RPO allows {format_duration(objective.rpo_s)}"
    ok = age_s <= objective.rpo_s
    return Proof(Part.FRESH, ok, f"its data is {format_duration(age_s)} old; {allowed}")


def canary_proof(
    canary: datetime | None, expected: bool, claimed: datetime, now: datetime, objective: Objective
) -> Proof:
    """Whether the last canary row that was restored agrees with the moment the backup claims to be of.

    `expected`: rows are being written, so that there must be one. One minute is the interval of the rows, another
    one the slack for a slow one.
    """
    if canary is None:
        if expected:
            return Proof(Part.CANARY, False, "no canary row was restored, but they are written")
        return Proof(Part.CANARY, None, "no canary rows are written; the backup's own time is believed")
    behind_s = (claimed - canary).total_seconds()
    if behind_s > CANARY_SLACK_S:
        why = f"the last canary row is {format_duration(behind_s)} older than the data claims to be"
        return Proof(Part.CANARY, False, why)
    age_s = max(0.0, (now - canary).total_seconds())
    allowed_s = objective.rpo_s + CANARY_SLACK_S
    return Proof(Part.CANARY, age_s <= allowed_s, f"the last canary row is {format_duration(age_s)} old")


CANARY_SLACK_S: Final = 120.0


def targets(objective: Objective, rto_s: float, rpo_s: float | None) -> Proof:
    """What was measured against what is promised."""
    said = [f"recovery took {format_duration(rto_s)} of {format_duration(objective.rto_s)}"]
    ok = rto_s <= objective.rto_s
    if rpo_s is not None:
        said.append(f"lost {format_duration(rpo_s)} of {format_duration(objective.rpo_s)}")
        ok = ok and rpo_s <= objective.rpo_s
    return Proof(Part.TARGETS, ok, ", ".join(said))


@dataclass(frozen=True, slots=True)
class Trend:
    """The last drills of one kind, newest first: their times, and how the newest compares with the median before."""

    rto_s: tuple[float, ...]
    rpo_s: tuple[float, ...]
    ratio: float | None


def trend(drills: Sequence[Drill]) -> Trend:
    """`drills` are of one kind, newest first; only those that went well were fully measured."""
    good = [drill for drill in drills if drill.ok][:TREND]
    rto = tuple(drill.rto_s for drill in good if drill.rto_s is not None)
    rpo = tuple(drill.rpo_s for drill in good if drill.rpo_s is not None)
    before = sorted(rto[1:])
    middle = before[len(before) // 2] if before else None
    return Trend(rto, rpo, rto[0] / middle if middle else None)
