"""Questions to the store, each one SELECT, in the SQL that every supported database speaks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, Self

from backstay.adapters.clock import SystemClock
from backstay.adapters.store.codec import decode, decode_mapping, from_row, lease_from
from backstay.adapters.store.location import Location, located, refuse_network_file_system
from backstay.adapters.store.readonly import ReadOnlyFile
from backstay.adapters.store.schema import MIGRATIONS
from backstay.domain.alarm import Alarm
from backstay.domain.backup import Backup
from backstay.domain.deployment import Deployment, Wish
from backstay.domain.drill import Drill, DrillKind
from backstay.domain.environment import Environment
from backstay.domain.lease import Lease, Now
from backstay.domain.notification import Notification
from backstay.domain.release import Release
from backstay.domain.schedule import Duty, DutyRun
from backstay.domain.slot import Slots
from backstay.domain.step import Event, StepRecord
from backstay.ports.clock import Clock

HERE = "app = :app AND environment = :environment"


class Source(Protocol):
    """Where rows come from."""

    @property
    def is_shared(self) -> bool:
        """Whether other control hosts may use it too."""

    def rows(self, query: str, values: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
        """All rows of a SELECT with `:name` parameters, by column name. Raises StoreError."""

    def now_s(self) -> float:
        """Seconds since the epoch by the clock that all users of the store share. Raises StoreError."""

    def close(self) -> None:
        """Close what is open; the next question opens it again."""


class SqlReader:
    """Answers from a source of rows; what is not there is None or empty. Raises StoreError.

    Its time is that of the clock that all users of the store share, unless `clock` is given.
    """

    def __init__(self, source: Source, clock: Clock | None = None) -> None:
        self._source = source
        self._clock = clock

    @property
    def is_shared(self) -> bool:
        return self._source.is_shared

    def deployment(self, deployment: str) -> Deployment | None:
        row = self._row("SELECT * FROM deployments WHERE id = :id", id=deployment)
        return from_row(row, Deployment) if row else None

    def history(self, app: str, environment: str) -> list[Deployment]:
        """All deployments of an environment, in the order in which they were recorded."""
        rows = self._rows(
            f"SELECT * FROM deployments WHERE {HERE} ORDER BY number", app=app, environment=environment
        )
        return [from_row(row, Deployment) for row in rows]

    def release(self, release: str) -> Release | None:
        row = self._row("SELECT content FROM releases WHERE id = :id", id=release)
        return decode(row["content"], Release) if row else None

    def environment_of(self, deployment: str) -> Environment | None:
        row = self._row("SELECT settings FROM deployments WHERE id = :id", id=deployment)
        return decode(row["settings"], Environment) if row else None

    def snapshot(self, deployment: str) -> Mapping[str, Any] | None:
        row = self._row("SELECT extra FROM deployments WHERE id = :id", id=deployment)
        return decode_mapping(row["extra"]) if row else None

    def wish(self, deployment: str) -> Wish | None:
        """What a person asked of a deployment: one column of one row, cheap enough to be polled."""
        row = self._row("SELECT wish FROM deployments WHERE id = :id", id=deployment)
        return Wish(row["wish"]) if row and row["wish"] else None

    def steps(self, deployment: str) -> list[StepRecord]:
        rows = self._rows("SELECT * FROM steps WHERE deployment = :id ORDER BY position", id=deployment)
        return [from_row({**row, "result": decode_mapping(row["result"])}, StepRecord) for row in rows]

    def events(self, deployment: str, after: int = 0) -> list[Event]:
        """Events after the one numbered `after`; each deployment counts its own from 1."""
        rows = self._rows(
            "SELECT * FROM events WHERE deployment = :id AND seq > :after ORDER BY seq",
            id=deployment,
            after=after,
        )
        return [from_row({**row, "data": decode_mapping(row["data"])}, Event) for row in rows]

    def slots(self, app: str, environment: str) -> Slots:
        row = self._row(f"SELECT content FROM slots WHERE {HERE}", app=app, environment=environment)
        return decode(row["content"], Slots) if row else Slots()

    def lease(self, app: str, environment: str) -> Lease | None:
        row = self._row(f"SELECT * FROM leases WHERE {HERE}", app=app, environment=environment)
        return lease_from(row) if row else None

    def now(self) -> Now:
        return Now(self.now_s(), (self._clock or SystemClock()).uptime())

    def backups(self, app: str, environment: str) -> list[Backup]:
        rows = self._rows(
            f"SELECT * FROM backups WHERE {HERE} ORDER BY number DESC, created_at DESC, id DESC",
            app=app,
            environment=environment,
        )
        return [from_row(row, Backup) for row in rows]

    def notifications(self, app: str, environment: str | None = None) -> list[Notification]:
        """The outbox of an application, or of one of its environments, newest first."""
        there = HERE if environment is not None else "app = :app"
        values = {"app": app} if environment is None else {"app": app, "environment": environment}
        rows = self._rows(f"SELECT * FROM notifications WHERE {there} ORDER BY id DESC", **values)
        return [from_row(row, Notification) for row in rows]

    def watched_since(self, app: str, environment: str) -> datetime | None:
        row = self._row(f"SELECT since FROM watches WHERE {HERE}", app=app, environment=environment)
        return datetime.fromisoformat(row["since"]) if row else None

    def duty_runs(
        self, app: str, environment: str, duty: Duty | None = None, limit: int = 100
    ) -> list[DutyRun]:
        rows = self._newest("duty_runs", app, environment, limit, duty=duty.value if duty else None)
        return [from_row({**row, "owner": decode_mapping(row["owner"])}, DutyRun) for row in rows]

    def drills(
        self, app: str, environment: str, kind: DrillKind | None = None, limit: int = 100
    ) -> list[Drill]:
        rows = self._newest("drills", app, environment, limit, kind=kind.value if kind else None)
        return [from_row({**row, "proofs": json.loads(row["proofs"])}, Drill) for row in rows]

    def alarms(self, app: str, environment: str) -> list[Alarm]:
        query = f"SELECT * FROM alarms WHERE {HERE} ORDER BY subject"
        return [from_row(row, Alarm) for row in self._rows(query, app=app, environment=environment)]

    def now_s(self) -> float:
        """Seconds since the epoch by the clock that all users of the store share, unless another one was given."""
        return self._source.now_s() if self._clock is None else self._clock.now().timestamp()

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _newest(
        self, table: str, app: str, environment: str, limit: int, **column: str | None
    ) -> Sequence[dict[str, Any]]:
        """Rows of a numbered table, newest first, where `column` has its value, if it is given one."""
        given = {name: value for name, value in column.items() if value is not None}
        wanted = "".join(f" AND {name} = :{name}" for name in given)
        query = f"SELECT * FROM {table} WHERE {HERE}{wanted} ORDER BY id DESC LIMIT {int(limit)}"
        return self._rows(query, app=app, environment=environment, **given)

    def _rows(self, query: str, **values: Any) -> Sequence[dict[str, Any]]:
        return self._source.rows(query, values)

    def _row(self, query: str, **values: Any) -> dict[str, Any] | None:
        return next(iter(self._rows(query, **values)), None)


def open_reader(
    location: Location, clock: Clock | None = None, *, migrations: Path = MIGRATIONS
) -> SqlReader:
    """A reader of the store at a path, `sqlite:///PATH` or `postgresql+psycopg://…`, which need not exist.

    It never creates, upgrades or writes anything. StoreError for a place that cannot hold a store; each
    question raises StoreError when the store is damaged, unreadable, or of a schema unknown to this program.
    """
    place = located(location)
    if isinstance(place, Path):
        refuse_network_file_system(place)
        return SqlReader(ReadOnlyFile(place, migrations), clock)
    from backstay.adapters.store.server.reading import ReadOnlyServer

    return SqlReader(ReadOnlyServer(place, migrations), clock)
