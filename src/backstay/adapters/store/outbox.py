"""The outbox of notifications. All runs inside a write transaction of the caller.

A row is written with the change it tells of, so it is there exactly when the change is. Whoever sends claims a row
first; only the claimer may say how its attempt ended.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, insert, or_, select, update

from backstay.adapters.store.codec import decode, decode_mapping, from_row
from backstay.adapters.store.database import Database, retried
from backstay.adapters.store.tables import deployments, notifications
from backstay.domain.deployment import Deployment
from backstay.domain.environment import Environment
from backstay.domain.notification import (
    CLAIM_S,
    LOG,
    Channel,
    Delivery,
    Notification,
    SendState,
    retry_after_s,
    told_of,
)

_rows = notifications.c


class SqlOutbox:
    """The part of a store that needs no token: anybody may tell, and anybody may send."""

    database: Database

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Connection]:
        """A write transaction, all or nothing."""

    @abstractmethod
    def _now(self) -> str: ...

    @abstractmethod
    def now_s(self) -> float: ...

    @retried
    def notify(
        self,
        app: str,
        environment: str,
        status: str,
        component: str,
        message: str,
        channels: Sequence[Channel],
    ) -> list[int]:
        what = {"app": app, "environment": environment, "status": status, "component": component}
        with self.transaction() as connection:
            return add(connection, {**what, "message": message}, channels, self._now(), self.now_s())

    @retried
    def claim_notification(
        self, app: str, targets: Collection[str], by: str, only: int | None = None
    ) -> Notification | None:
        with self.transaction() as connection:
            return claim(connection, app, targets, by, self.now_s(), only)

    @retried
    def settle_notification(self, id_: int, by: str, delivery: Delivery) -> Notification | None:
        with self.transaction() as connection:
            return settle(connection, id_, by, delivery, self.now_s())

    @retried
    def retry_notifications(self, app: str, environment: str | None) -> int:
        with self.transaction() as connection:
            return begin_anew(connection, app, environment, self.now_s())


def tell_of(
    connection: Connection,
    deployment: Deployment,
    now: str,
    now_s: float,
    environment: Environment,
    extra: Mapping[str, Any],
) -> None:
    """Put what the deployment's state says to people, if anything, into the outbox of its channels."""
    told = told_of(deployment, _made_anew(extra))
    if told is None:
        return
    add(
        connection,
        {
            "app": deployment.app,
            "environment": deployment.environment,
            "deployment": deployment.id,
            "status": told.status.value,
            "component": told.component,
            "message": told.message,
        },
        environment.channels,
        now,
        now_s,
    )


def tell_of_recorded(connection: Connection, deployment: Deployment, now: str, now_s: float) -> None:
    """As `tell_of`, with the channels that were recorded when the deployment began."""
    if told_of(deployment) is None:
        return
    columns = select(deployments.c.settings, deployments.c.extra).where(deployments.c.id == deployment.id)
    row = connection.execute(columns).one()
    tell_of(connection, deployment, now, now_s, decode(row.settings, Environment), decode_mapping(row.extra))


def add(
    connection: Connection, what: Mapping[str, Any], channels: Iterable[Channel], now: str, now_s: float
) -> list[int]:
    """A row for the file log and for each of `channels`, due at once; returns their ids."""
    ids = []
    for channel in (LOG, *channels):
        row = {
            **what,
            "channel": channel.label,
            "target": channel.target,
            "created_at": now,
            "state": SendState.PENDING.value,
            "attempts": 0,
            "next_attempt_at": now_s,
        }
        made = insert(notifications).values(row).returning(_rows.id)
        ids.append(int(connection.execute(made).scalar_one()))
    return ids


def claim(
    connection: Connection, app: str, targets: Collection[str], by: str, now_s: float, only: int | None
) -> Notification | None:
    """The oldest row that is due for one of `targets` (or row `only`, due or not), from now on owned by `by`."""
    found = select(notifications).where(
        _rows.app == app,
        _rows.state == SendState.PENDING.value,
        _rows.target.in_(targets),
        or_(_rows.claimed_until.is_(None), _rows.claimed_until <= now_s),
        _rows.next_attempt_at <= now_s if only is None else _rows.id == only,
    )
    row = connection.execute(found.order_by(_rows.id).limit(1).with_for_update(skip_locked=True)).first()
    if row is None:
        return None
    mine = {"claimed_by": by, "claimed_until": now_s + CLAIM_S}
    connection.execute(update(notifications).where(_rows.id == row.id).values(mine))
    return from_row(row._asdict(), Notification)


def settle(
    connection: Connection, id_: int, by: str, delivery: Delivery, now_s: float
) -> Notification | None:
    """Write how the attempt ended; None when the claim ran out meanwhile and belongs to somebody else."""
    mine = and_(_rows.id == id_, _rows.claimed_by == by)
    row = connection.execute(select(notifications).where(mine).with_for_update()).first()
    if row is None:
        return None
    attempts = row.attempts + 1
    values: dict[str, Any] = {
        "attempts": attempts, "last_error": delivery.error, "claimed_by": None, "claimed_until": None,
    }  # fmt: skip
    wait_s = None if delivery.is_final else retry_after_s(attempts)
    if delivery.error is None:
        values |= {"state": SendState.SENT.value, "next_attempt_at": None}
    elif wait_s is None:
        values |= {"state": SendState.FAILED.value, "next_attempt_at": None}
    else:
        values |= {"next_attempt_at": now_s + wait_s}
    connection.execute(update(notifications).where(_rows.id == id_).values(values))
    return from_row({**row._asdict(), **values}, Notification)


def begin_anew(connection: Connection, app: str, environment: str | None, now_s: float) -> int:
    """Make what is not sent due at once, with all its attempts before it again; returns how many rows."""
    values = {"state": SendState.PENDING.value, "attempts": 0, "next_attempt_at": now_s}
    unsent: list[ColumnElement[bool]] = [_rows.app == app, _rows.state != SendState.SENT.value]
    if environment is not None:
        unsent.append(_rows.environment == environment)
    return connection.execute(update(notifications).where(*unsent).values(values)).rowcount


def _made_anew(extra: Mapping[str, Any]) -> tuple[str, ...]:
    """The components of which a deployment makes new containers, when it leaves others as they are."""
    origins = extra.get("origins", {})
    anew = tuple(name for name, origin in origins.items() if origin != "live")
    return () if len(anew) == len(origins) else anew
