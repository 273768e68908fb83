"""Objectives measured: how much would be lost now and how long the last drill took; alarms when one is broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

from backstay.domain.alarm import Subject
from backstay.domain.backup import newest_whole
from backstay.domain.drill import DrillKind
from backstay.domain.notification import Channel
from backstay.domain.objective import Measure, Objective, Protection, Standing, rpo, rto
from backstay.domain.schedule import PERIODS, Duty, DutyState, Outcome, standing
from backstay.domain.wal import Chain, Flow, window
from backstay.pipeline.prune import as_they_are
from backstay.pipeline.times import rfc3339
from backstay.pipeline.wal import chains
from backstay.ports.clock import Clock
from backstay.ports.database import Database
from backstay.ports.duties import DutyStore
from backstay.ports.store import Reader
from backstay.ports.wal import WalArchive

DRILLS: Final = {Duty.RESTORE_DRILL: DrillKind.RESTORE, Duty.ROLLBACK_DRILL: DrillKind.ROLLBACK}
UNSEEN_S: Final = 60.0


class Ports(Protocol):
    """What a look at the objectives needs; nothing of it writes."""

    @property
    def store(self) -> Reader: ...
    @property
    def archive(self) -> WalArchive: ...
    @property
    def database(self) -> Database: ...
    @property
    def clock(self) -> Clock: ...


@dataclass(frozen=True, slots=True)
class Look:
    """What protects an environment now: its objectives measured, and how far received WAL goes from each base."""

    protection: Protection
    rpo: Measure
    rto: Measure
    chains: Sequence[Chain]


def look(ports: Ports, app: str, environment: str, objective: Objective, folder: Path | None) -> Look:
    """Measure. `folder` is where WAL is received into; None without continuous protection."""
    backup = newest_whole(as_they_are(ports.store, ports.database, app, environment))
    found = chains(ports, app, environment, folder) if folder is not None else []
    protection = Protection(
        ports.clock.now(),
        datetime.fromisoformat(backup.created_at) if backup is not None else None,
        max((c.until for c in found), default=None),
    )
    drills = ports.store.drills(app, environment, DrillKind.RESTORE, limit=20)
    drilled_s = next((drill.rto_s for drill in drills if drill.rto_s is not None), None)
    return Look(protection, rpo(objective, protection), rto(objective, drilled_s), found)


def objectives(
    ports: Ports, app: str, environment: str, objective: Objective, folder: Path | None
) -> dict[str, Any]:
    """The `objectives` of the status document."""
    found = look(ports, app, environment, objective, folder)
    return {
        "rpo": _measure(found.rpo),
        "rto": _measure(found.rto),
        "continuous": _continuous(ports, folder, found.chains) if folder is not None else None,
        "alarms": [
            {"subject": a.subject.value, "since": a.since, "message": a.message}
            for a in ports.store.alarms(app, environment)
        ],
        "duties": duties(ports.store, app, environment, ports.clock.now()),
    }


def duties(store: Reader, app: str, environment: str, now: datetime) -> list[dict[str, Any]]:
    """Where the regular duties of people stand: last done, due next, overdue or not."""
    since = store.watched_since(app, environment) or now
    rows = []
    for duty in PERIODS:
        last = last_done(store, app, environment, duty)
        found = standing(duty, last, since, now)
        rows.append(
            {
                "duty": duty.value,
                "state": found.state.value,
                "last_done": rfc3339(last) if last else None,
                "due_at": rfc3339(found.due_at),
            }
        )
    return rows


def last_done(store: Reader, app: str, environment: str, duty: Duty) -> datetime | None:
    """When a duty was last done well; a drill is its own evidence, whoever started it."""
    if duty in DRILLS:
        # A rollback drill that moved no traffic measured nothing.
        good = (d for d in store.drills(app, environment, DRILLS[duty]) if d.ok and d.rto_s is not None)
        return next((datetime.fromisoformat(d.ended_at) for d in good), None)
    done = (r for r in store.duty_runs(app, environment, duty) if r.outcome is Outcome.DONE)
    return next((r.finished for r in done), None)


def raise_or_clear(
    store: DutyStore,
    app: str,
    environment: str,
    subject: Subject,
    fault: str | None,
    mended: str,
    channels: Sequence[Channel],
) -> bool:
    """Let an alarm stand for as long as there is a fault; True when people are told anything by it.

    Called every few seconds, so it writes only what changes anything.
    """
    stands = {alarm.subject: alarm.message for alarm in store.alarms(app, environment)}
    if fault is None:
        return subject in stands and store.clear_alarm(app, environment, subject, mended, channels)
    return stands.get(subject) != fault and store.raise_alarm(app, environment, subject, fault, channels)


def fault_of(measure: Measure, what: str) -> str | None:
    """What an alarm says about an objective that does not hold; None while it does, or nobody knows."""
    return f"the {what} is broken: {measure.why}" if measure.standing is Standing.BROKEN else None


def overdue(rows: Sequence[dict[str, Any]]) -> str | None:
    """What an alarm says about duties that are overdue; None when none is."""
    late = [
        f"{row['duty']} (since {row['due_at'][:10]})" for row in rows if row["state"] == DutyState.OVERDUE
    ]
    return f"overdue: {', '.join(late)}" if late else None


def _measure(measure: Measure) -> dict[str, Any]:
    actual_s = measure.actual_s
    return {
        "target_s": measure.target_s,
        "actual_s": None if actual_s is None else round(actual_s, 3),
        "standing": measure.standing.value,
        "detail": measure.why,
    }


def _continuous(ports: Ports, folder: Path, found: Sequence[Chain]) -> dict[str, Any]:
    """How WAL arrives. What nobody has looked after for a minute is not being received, as far as is known."""
    state = ports.archive.state(folder)
    flow, seen, message = Flow.DOWN, None, "nothing was received yet"
    if state is not None:
        flow, seen, message = state.flow, rfc3339(state.seen), state.message
        if (ports.clock.now() - state.seen).total_seconds() > UNSEEN_S:
            flow, message = Flow.DOWN, "nobody looks after it: is backstay serve running?"
    return {
        "flow": flow.value,
        "seen": seen,
        "message": message,
        "window": [{"from": rfc3339(first), "to": rfc3339(last)} for first, last in window(found).spans],
        "gap": found[0].gap if found else None,
    }
