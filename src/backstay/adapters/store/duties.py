"""Schedules, drills and alarms in the store."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, and_, delete, insert, select, update

from backstay.adapters.store import outbox
from backstay.adapters.store.codec import encode, timestamp, to_row
from backstay.adapters.store.database import Database, retried
from backstay.adapters.store.tables import alarms, drills, duty_runs, watches
from backstay.domain.alarm import MENDED, RAISED, Subject
from backstay.domain.drill import Drill
from backstay.domain.lease import Owner
from backstay.domain.notification import Channel
from backstay.domain.schedule import Duty, DutyRun, Outcome

KEPT_RUNS: Final = 500
"""How many runs of one duty in one environment are remembered."""

COMPONENT: Final = "database"
"""What alarms are told about, as notifications name a component."""


class SqlDuties:
    """The part of a store that schedules, drills and alarms write; needs no token."""

    database: Database

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Connection]:
        """A write transaction, all or nothing."""

    @abstractmethod
    def _now(self) -> str: ...

    @abstractmethod
    def now_s(self) -> float: ...

    @retried
    def watch(self, app: str, environment: str) -> datetime:
        here = and_(watches.c.app == app, watches.c.environment == environment)
        with self.transaction() as connection:
            since = connection.execute(select(watches.c.since).where(here)).scalar()
            if since is None:
                since = self._now()
                connection.execute(insert(watches).values(app=app, environment=environment, since=since))
        return datetime.fromisoformat(since)

    @retried
    def begin_duty(
        self, app: str, environment: str, duty: Duty, due_at: datetime | None, owner: Owner
    ) -> DutyRun:
        due = timestamp(due_at) if due_at else None
        run = DutyRun(0, app, environment, duty, due, self._now(), owner)
        with self.transaction() as connection:
            number = _inserted(connection, duty_runs, {**to_row(run), "owner": encode(owner)})
            _forget(connection, run)
        return replace(run, id=number)

    @retried
    def end_duty(self, run: int, outcome: Outcome, detail: str) -> None:
        open_run = and_(duty_runs.c.id == run, duty_runs.c.outcome == Outcome.RUNNING.value)
        values = {"outcome": outcome.value, "ended_at": self._now(), "detail": detail}
        with self.transaction() as connection:
            connection.execute(update(duty_runs).where(open_run).values(values))

    @retried
    def record_drill(self, drill: Drill) -> Drill:
        with self.transaction() as connection:
            number = _inserted(connection, drills, {**to_row(drill), "proofs": encode(list(drill.proofs))})
        return replace(drill, id=number)

    @retried
    def raise_alarm(
        self, app: str, environment: str, subject: Subject, message: str, channels: Sequence[Channel]
    ) -> bool:
        with self.transaction() as connection:
            here = _alarm(app, environment, subject)
            if connection.execute(update(alarms).where(here).values(message=message)).rowcount:
                return False
            row = {"app": app, "environment": environment, "subject": subject.value}
            connection.execute(insert(alarms).values({**row, "since": self._now(), "message": message}))
            self._tell(connection, app, environment, RAISED, message, channels)
        return True

    @retried
    def clear_alarm(
        self, app: str, environment: str, subject: Subject, message: str, channels: Sequence[Channel]
    ) -> bool:
        with self.transaction() as connection:
            if not connection.execute(delete(alarms).where(_alarm(app, environment, subject))).rowcount:
                return False
            self._tell(connection, app, environment, MENDED, message, channels)
        return True

    def _tell(
        self,
        connection: Connection,
        app: str,
        environment: str,
        status: str,
        message: str,
        channels: Sequence[Channel],
    ) -> None:
        what = {"app": app, "environment": environment, "status": status, "component": COMPONENT}
        outbox.add(connection, {**what, "message": message}, channels, self._now(), self.now_s())


def _alarm(app: str, environment: str, subject: Subject) -> Any:
    here = (alarms.c.app == app, alarms.c.environment == environment)
    return and_(*here, alarms.c.subject == subject.value)


def _inserted(connection: Connection, table: Any, row: dict[str, Any]) -> int:
    del row["id"]
    return int(connection.execute(insert(table).values(row).returning(table.c.id)).scalar_one())


def _forget(connection: Connection, run: DutyRun) -> None:
    """Keep the newest runs of a duty only: a short RPO makes more than a hundred a day."""
    own = (
        duty_runs.c.app == run.app,
        duty_runs.c.environment == run.environment,
        duty_runs.c.duty == run.duty.value,
    )
    newest = select(duty_runs.c.id).where(*own).order_by(duty_runs.c.id.desc()).offset(KEPT_RUNS).limit(1)
    last = connection.execute(newest).scalar()
    if last is not None:
        connection.execute(delete(duty_runs).where(*own, duty_runs.c.id <= last))
