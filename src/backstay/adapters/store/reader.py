"""Questions to the store, each one SELECT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from sqlalchemy import Select, select

from backstay.adapters.store.codec import decode, decode_mapping, from_row
from backstay.adapters.store.leases import lease_from
from backstay.adapters.store.location import refuse_network_file_system, store_path
from backstay.adapters.store.readonly import ReadOnlyFile
from backstay.adapters.store.tables import (
    backups,
    deployments,
    events,
    leases,
    notifications,
    releases,
    slots,
    steps,
)
from backstay.adapters.store.upgrade import MIGRATIONS
from backstay.domain.backup import Backup
from backstay.domain.deployment import Deployment, Wish
from backstay.domain.environment import Environment
from backstay.domain.lease import Lease
from backstay.domain.notification import Notification
from backstay.domain.release import Release
from backstay.domain.slot import Slots
from backstay.domain.step import Event, StepRecord


class Source(Protocol):
    """Where rows come from."""

    def rows(self, statement: Select[Any]) -> Sequence[dict[str, Any]]:
        """All rows of a query, by column name. Raises StoreError."""


class SqlReader:
    """Answers from a source of rows; what is not there is None or empty. Raises StoreError."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def deployment(self, deployment: str) -> Deployment | None:
        row = self._row(select(deployments).where(deployments.c.id == deployment))
        return from_row(row, Deployment) if row else None

    def history(self, app: str, environment: str) -> list[Deployment]:
        """All deployments of an environment, in the order in which they were recorded."""
        found = (
            select(deployments)
            .where(deployments.c.app == app, deployments.c.environment == environment)
            .order_by(deployments.c.number)
        )
        return [from_row(row, Deployment) for row in self._source.rows(found)]

    def release(self, release: str) -> Release | None:
        row = self._row(select(releases.c.content).where(releases.c.id == release))
        return decode(row["content"], Release) if row else None

    def environment_of(self, deployment: str) -> Environment | None:
        row = self._row(select(deployments.c.settings).where(deployments.c.id == deployment))
        return decode(row["settings"], Environment) if row else None

    def snapshot(self, deployment: str) -> Mapping[str, Any] | None:
        row = self._row(select(deployments.c.extra).where(deployments.c.id == deployment))
        return decode_mapping(row["extra"]) if row else None

    def wish(self, deployment: str) -> Wish | None:
        """What a person asked of a deployment: one column of one row, cheap enough to be polled."""
        row = self._row(select(deployments.c.wish).where(deployments.c.id == deployment))
        return Wish(row["wish"]) if row and row["wish"] else None

    def steps(self, deployment: str) -> list[StepRecord]:
        found = select(steps).where(steps.c.deployment == deployment).order_by(steps.c.position)
        return [
            from_row({**row, "result": decode_mapping(row["result"])}, StepRecord)
            for row in self._source.rows(found)
        ]

    def events(self, deployment: str, after: int = 0) -> list[Event]:
        """Events after the one numbered `after`; each deployment counts its own from 1."""
        found = (
            select(events)
            .where(events.c.deployment == deployment, events.c.seq > after)
            .order_by(events.c.seq)
        )
        return [
            from_row({**row, "data": decode_mapping(row["data"])}, Event) for row in self._source.rows(found)
        ]

    def slots(self, app: str, environment: str) -> Slots:
        row = self._row(select(slots.c.content).where(slots.c.app == app, slots.c.environment == environment))
        return decode(row["content"], Slots) if row else Slots()

    def lease(self, app: str, environment: str) -> Lease | None:
        row = self._row(select(leases).where(leases.c.app == app, leases.c.environment == environment))
        return lease_from(row) if row else None

    def backups(self, app: str, environment: str) -> list[Backup]:
        found = (
            select(backups)
            .where(backups.c.app == app, backups.c.environment == environment)
            .order_by(backups.c.created_at.desc(), backups.c.id.desc())
        )
        return [from_row(row, Backup) for row in self._source.rows(found)]

    def notifications(self, app: str, environment: str | None = None) -> list[Notification]:
        found = select(notifications).where(notifications.c.app == app).order_by(notifications.c.id.desc())
        if environment is not None:
            found = found.where(notifications.c.environment == environment)
        return [from_row(row, Notification) for row in self._source.rows(found)]

    def close(self) -> None:
        """Nothing is held open between two questions."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _row(self, statement: Select[Any]) -> dict[str, Any] | None:
        return next(iter(self._source.rows(statement)), None)


def open_reader(location: str | Path, *, migrations: Path = MIGRATIONS) -> SqlReader:
    """A reader of the store at a path or `sqlite:///PATH`, which need not exist.

    It never creates, upgrades or writes anything. StoreError for a place that cannot hold a store; each
    question raises StoreError when the file is damaged, unreadable, or of a schema unknown to this program.
    """
    path = store_path(location)
    refuse_network_file_system(path)
    return SqlReader(ReadOnlyFile(path, migrations))
