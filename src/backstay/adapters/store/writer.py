"""Writes to the store. Each is one transaction; each that acts for an owner passes the fence inside it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, delete, func, insert, select, update

from backstay.adapters.store import duties, journal, leases, outbox
from backstay.adapters.store.codec import DEPLOYMENT_FIELDS, encode, from_row, timestamp, to_row
from backstay.adapters.store.database import Database, retried
from backstay.adapters.store.reader import SqlReader
from backstay.adapters.store.tables import backups, deployments
from backstay.adapters.store.tables import slots as slots_table
from backstay.domain.backup import Backup
from backstay.domain.deployment import Deployment, DeploymentState, Wish, can_become
from backstay.domain.environment import Environment
from backstay.domain.lease import LEASE_TIME_S, Lease, Owner
from backstay.domain.release import Release
from backstay.domain.slot import Slots
from backstay.domain.step import StepState, Telling
from backstay.errors import StoreError
from backstay.ports.clock import Clock

_FIXED = frozenset({"id", "app", "environment", "kind", "state", "token", "created_at"})


# Made once: to build a statement takes longer than to run it.
_WHOLE: Final = (
    select(*(deployments.c[name] for name in sorted(DEPLOYMENT_FIELDS)))
    .where(deployments.c.id == bindparam("wanted"))
    .with_for_update()
)
_WHERE: Final = (
    select(deployments.c.app, deployments.c.environment)
    .where(deployments.c.id == bindparam("wanted"))
    .with_for_update()
)


class SqlStore(SqlReader, outbox.SqlOutbox, duties.SqlDuties):
    """A store in `database`. Safe to use from several threads.

    Times are those of the clock that all users of the database share, unless `clock` is given. Raises StoreError
    when it cannot be used, LeaseLost when a token is stale, Locked when a lease is held.
    """

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        super().__init__(database, clock)
        self.database = database

    @retried
    def begin(
        self,
        deployment: Deployment,
        release: Release,
        environment: Environment,
        owner: Owner,
        purpose: str,
        extra: Mapping[str, Any],
        replaces: Lease | None = None,
    ) -> Lease:
        with self.transaction() as connection:
            lease = leases.take(
                connection,
                deployment.app,
                deployment.environment,
                owner,
                purpose,
                deployment.id,
                replaces,
                self.now(),
                environment.policy.lease_s,
            )
            self._record(
                connection,
                replace(deployment, token=lease.token),
                release,
                environment,
                extra,
                "deployment_created",
            )
        return lease

    @retried
    def record_refused(
        self, deployment: Deployment, release: Release | None, environment: Environment
    ) -> None:
        with self.transaction() as connection:
            refused = replace(
                deployment,
                state=DeploymentState.FAILED,
                token=None,
                finished_at=deployment.finished_at or self._now(),
            )
            self._record(connection, refused, release, environment, {}, "deployment_refused")

    @retried
    def take_lease(
        self,
        app: str,
        environment: str,
        owner: Owner,
        purpose: str,
        deployment: str | None,
        replaces: Lease | None = None,
        lasts_s: float = LEASE_TIME_S,
    ) -> Lease:
        with self.transaction() as connection:
            return leases.take(
                connection, app, environment, owner, purpose, deployment, replaces, self.now(), lasts_s
            )

    @retried
    def extend_lease(self, lease: Lease, purpose: str, lasts_s: float) -> Lease:
        with self.transaction() as connection:
            return leases.extend(connection, lease, purpose, self.now(), lasts_s)

    @retried
    def correct_lease(self, lease: Lease) -> Lease | None:
        with self.transaction() as connection:
            return leases.correct(connection, lease, self.now())

    @retried
    def adopt(self, lease: Lease, owner: Owner) -> Lease:
        with self.transaction() as connection:
            return leases.adopt(connection, lease, owner, self.now())

    @retried
    def heartbeat(self, lease: Lease) -> Lease:
        with self.transaction() as connection:
            return leases.renew(connection, lease, self.now())

    @retried
    def release_lease(self, lease: Lease) -> None:
        with self.transaction() as connection:
            leases.free(connection, lease)

    @retried
    def move(self, token: int, deployment: str, state: DeploymentState, **fields: Any) -> Deployment:
        """Change state and fields. The same state again only changes fields; an end is final in both.

        `finished_at` is now when a deployment ends and nothing else is given. StoreError for a forbidden
        transition, TypeError for a field that does not exist or never changes.
        """
        wrong = fields.keys() - (DEPLOYMENT_FIELDS - _FIXED)
        if wrong:
            raise TypeError(f"a deployment has no changeable {', '.join(sorted(wrong))}")
        with self.transaction() as connection:
            have = self._locked_deployment(connection, deployment)
            leases.held_under(connection, have.app, have.environment, token)
            if not can_become(have.state, state) and (state is not have.state or have.state.is_final):
                raise StoreError(
                    f"deployment {deployment} is {have.state} and cannot become {state}",
                    hint=f"`backstay show {deployment}` tells its story",
                )
            if state.is_final:
                fields.setdefault("finished_at", self._now())
            moved = replace(have, state=state, **fields)
            changes = {
                name: value for name, value in to_row(moved).items() if name == "state" or name in fields
            }
            connection.execute(update(deployments).where(deployments.c.id == deployment).values(changes))
            if state is not have.state:
                outbox.tell_of_recorded(connection, moved, self._now(), self.now_s())
        return moved

    @retried
    def step(
        self,
        token: int,
        deployment: str,
        name: str,
        state: StepState,
        *,
        result: Mapping[str, Any] | None = None,
        error: str | None = None,
        took_s: float | None = None,
        telling: Telling | None = None,
    ) -> None:
        """Write the journal. What is not given stays as it was, but a step started again has no error yet."""
        with self.transaction() as connection:
            self._fence(connection, token, deployment)
            now = self._now()
            journal.write_step(connection, deployment, name, state, now, result, error, took_s)
            if telling is not None:
                told = (telling.kind, telling.message)
                journal.append_event(connection, deployment, *told, now, step=name, data=telling.data)

    @retried
    def tell(
        self,
        token: int,
        deployment: str,
        kind: str,
        message: str,
        *,
        step: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        with self.transaction() as connection:
            self._fence(connection, token, deployment)
            journal.append_event(connection, deployment, kind, message, self._now(), step=step, data=data)

    @retried
    def save_slots(self, token: int, app: str, environment: str, slots: Slots) -> None:
        here = (slots_table.c.app == app, slots_table.c.environment == environment)
        with self.transaction() as connection:
            values = {"content": encode(slots), "token": token, "saved_at": self._now()}
            leases.held_under(connection, app, environment, token)
            if connection.execute(update(slots_table).where(*here).values(values)).rowcount == 0:
                connection.execute(insert(slots_table).values(app=app, environment=environment, **values))

    @retried
    def add_backup(self, token: int, backup: Backup) -> None:
        """Put a backup into the catalog, or change its entry when it is there already."""
        values = to_row(backup)
        values.pop("number")
        with self.transaction() as connection:
            leases.held_under(connection, backup.app, backup.environment, token)
            if (
                connection.execute(update(backups).where(backups.c.id == backup.id).values(values)).rowcount
                == 0
            ):
                connection.execute(insert(backups).values(values | {"number": _next_number(connection)}))

    @retried
    def record_backup(self, backup: Backup) -> bool:
        with self.transaction() as connection:
            if connection.execute(select(backups.c.id).where(backups.c.id == backup.id)).first():
                return False
            values = to_row(backup) | {"number": _next_number(connection)}
            connection.execute(insert(backups).values(values))
        return True

    @retried
    def change_backup(self, backup: str, **changes: Any) -> bool:
        with self.transaction() as connection:
            changed = update(backups).where(backups.c.id == backup).values(changes)
            return connection.execute(changed).rowcount == 1

    @retried
    def remove_backup(self, backup: str) -> None:
        with self.transaction() as connection:
            connection.execute(delete(backups).where(backups.c.id == backup))

    @retried
    def ask(self, deployment: str, wish: Wish) -> bool:
        with self.transaction() as connection:
            if self._locked_deployment(connection, deployment).state.is_final:
                return False
            connection.execute(
                update(deployments).where(deployments.c.id == deployment).values(wish=wish.value)
            )
        return True

    def close(self) -> None:
        self.database.close()

    def _record(
        self,
        connection: Connection,
        deployment: Deployment,
        release: Release | None,
        environment: Environment,
        extra: Mapping[str, Any],
        kind: str,
    ) -> None:
        if release is not None:
            deployment = replace(deployment, release=release.id)
            journal.keep_release(connection, release, self._now())
        row = {**to_row(deployment), "settings": encode(environment), "extra": encode(extra)}
        connection.execute(insert(deployments).values(row))
        message = f"{deployment.kind} of {deployment.version} to {deployment.environment}"
        message += f" by {deployment.requested_by}"
        if deployment.reason:
            message += f": {deployment.reason}"
        journal.append_event(connection, deployment.id, kind, message, self._now())
        outbox.tell_of(connection, deployment, self._now(), self.now_s(), environment, extra)

    def _fence(self, connection: Connection, token: int, deployment: str) -> None:
        """Lock the deployment, and LeaseLost unless its environment is held under `token`."""
        row = self._row_of(connection, _WHERE, deployment)
        leases.held_under(connection, row["app"], row["environment"], token)

    def _locked_deployment(self, connection: Connection, deployment: str) -> Deployment:
        return from_row(self._row_of(connection, _WHOLE, deployment), Deployment)

    def _row_of(self, connection: Connection, what: Select[Any], deployment: str) -> dict[str, Any]:
        row = connection.execute(what, {"wanted": deployment}).one_or_none()
        if row is None:
            raise StoreError(
                f"the state store {self.database.name} has no deployment {deployment}",
                hint="`backstay history ENV` lists those it has",
            )
        return row._asdict()

    def transaction(self) -> AbstractContextManager[Connection]:
        return self.database.transaction()

    def _now(self) -> str:
        return timestamp(datetime.fromtimestamp(self.now_s(), UTC))


def _next_number(connection: Connection) -> int:
    """The order of entry, which no clock decides."""
    highest: int = connection.execute(select(func.coalesce(func.max(backups.c.number), 0))).scalar_one()
    return highest + 1
