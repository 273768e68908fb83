"""Writes to the store. Each is one transaction; each that acts for an owner passes the fence inside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, insert, select, text, update

from backstay.adapters.store import journal, leases, outbox
from backstay.adapters.store.codec import DEPLOYMENT_FIELDS, encode, from_row, timestamp, to_row
from backstay.adapters.store.engine import for_writing, translated, uses_write_ahead_log, writing_engine
from backstay.adapters.store.location import is_empty, refuse_network_file_system, store_path
from backstay.adapters.store.reader import SqlReader
from backstay.adapters.store.schema import MIGRATIONS, Standing
from backstay.adapters.store.tables import backups, deployments
from backstay.adapters.store.tables import slots as slots_table
from backstay.adapters.store.upgrade import bring_up, standing_of
from backstay.domain.backup import Backup
from backstay.domain.deployment import Deployment, DeploymentState, Wish, can_become
from backstay.domain.environment import Environment
from backstay.domain.lease import LEASE_TIME_S, Lease, Now, Owner
from backstay.domain.release import Release
from backstay.domain.slot import Slots
from backstay.domain.step import StepState, Telling
from backstay.errors import StoreError
from backstay.ports.clock import Clock

_FIXED = frozenset({"id", "app", "environment", "kind", "state", "token", "created_at"})


class SqlStore(SqlReader, outbox.SqlOutbox):
    """The store at `location`, created or upgraded when it must be. Safe to use from several threads.

    Raises StoreError when it cannot be used, LeaseLost when a token is stale, Locked when a lease is held.
    """

    def __init__(self, location: str | Path, clock: Clock, *, migrations: Path = MIGRATIONS) -> None:
        super().__init__(self, clock)
        self.path = store_path(location)
        refuse_network_file_system(self.path)
        if is_empty(self.path):
            bring_up(self.path, migrations)
        self._reads = writing_engine(self.path)
        self._writes = for_writing(self._reads)
        try:
            if not self._is_ready(migrations):
                bring_up(self.path, migrations)
        except StoreError:
            self.close()
            raise

    def rows(self, query: str, values: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
        with translated(self.path, "read"), self._reads.connect() as connection:
            return [row._asdict() for row in connection.execute(text(query), values)]

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
                self._moment(connection),
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

    def record_refused(
        self, deployment: Deployment, release: Release | None, environment: Environment
    ) -> None:
        refused = replace(
            deployment,
            state=DeploymentState.FAILED,
            token=None,
            finished_at=deployment.finished_at or self._now(),
        )
        with self.transaction() as connection:
            self._record(connection, refused, release, environment, {}, "deployment_refused")

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
            now = self._moment(connection)
            return leases.take(
                connection, app, environment, owner, purpose, deployment, replaces, now, lasts_s
            )

    def extend_lease(self, lease: Lease, purpose: str, lasts_s: float) -> Lease:
        with self.transaction() as connection:
            return leases.extend(connection, lease, purpose, self._moment(connection), lasts_s)

    def correct_lease(self, lease: Lease) -> Lease | None:
        with self.transaction() as connection:
            return leases.correct(connection, lease, self._moment(connection))

    def adopt(self, lease: Lease, owner: Owner) -> Lease:
        with self.transaction() as connection:
            return leases.adopt(connection, lease, owner, self._moment(connection))

    def heartbeat(self, lease: Lease) -> Lease:
        with self.transaction() as connection:
            return leases.renew(connection, lease, self._moment(connection))

    def release_lease(self, lease: Lease) -> None:
        with self.transaction() as connection:
            leases.free(connection, lease)

    def move(self, token: int, deployment: str, state: DeploymentState, **fields: Any) -> Deployment:
        """Change state and fields. The same state again only changes fields; an end is final in both.

        `finished_at` is now when a deployment ends and nothing else is given. StoreError for a forbidden
        transition, TypeError for a field that does not exist or never changes.
        """
        wrong = fields.keys() - (DEPLOYMENT_FIELDS - _FIXED)
        if wrong:
            raise TypeError(f"a deployment has no changeable {', '.join(sorted(wrong))}")
        with self.transaction() as connection:
            have = self._fenced(connection, token, deployment)
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
                outbox.tell_of_recorded(connection, moved, self._now(), self._now_s())
        return moved

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
        now = self._now()
        with self.transaction() as connection:
            self._fenced(connection, token, deployment)
            journal.write_step(connection, deployment, name, state, now, result, error, took_s)
            if telling is not None:
                told = (telling.kind, telling.message)
                journal.append_event(connection, deployment, *told, now, step=name, data=telling.data)

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
            self._fenced(connection, token, deployment)
            journal.append_event(connection, deployment, kind, message, self._now(), step=step, data=data)

    def save_slots(self, token: int, app: str, environment: str, slots: Slots) -> None:
        here = (slots_table.c.app == app, slots_table.c.environment == environment)
        values = {"content": encode(slots), "token": token, "saved_at": self._now()}
        with self.transaction() as connection:
            leases.held_under(connection, app, environment, token)
            if connection.execute(update(slots_table).where(*here).values(values)).rowcount == 0:
                connection.execute(insert(slots_table).values(app=app, environment=environment, **values))

    def add_backup(self, token: int, backup: Backup) -> None:
        """Put a backup into the catalog, or change its entry when it is there already."""
        values = to_row(backup)
        with self.transaction() as connection:
            leases.held_under(connection, backup.app, backup.environment, token)
            if (
                connection.execute(update(backups).where(backups.c.id == backup.id).values(values)).rowcount
                == 0
            ):
                connection.execute(insert(backups).values(values))

    def record_backup(self, backup: Backup) -> bool:
        with self.transaction() as connection:
            if connection.execute(select(backups.c.id).where(backups.c.id == backup.id)).first():
                return False
            connection.execute(insert(backups).values(to_row(backup)))
        return True

    def remove_backup(self, backup: str) -> None:
        with self.transaction() as connection:
            connection.execute(delete(backups).where(backups.c.id == backup))

    def ask(self, deployment: str, wish: Wish) -> bool:
        with self.transaction() as connection:
            if self._locked_deployment(connection, deployment).state.is_final:
                return False
            connection.execute(
                update(deployments).where(deployments.c.id == deployment).values(wish=wish.value)
            )
        return True

    def close(self) -> None:
        self._reads.dispose()

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
        outbox.tell_of(connection, deployment, self._now(), self._now_s(), environment, extra)

    def _fenced(self, connection: Connection, token: int, deployment: str) -> Deployment:
        have = self._locked_deployment(connection, deployment)
        leases.held_under(connection, have.app, have.environment, token)
        return have

    def _locked_deployment(self, connection: Connection, deployment: str) -> Deployment:
        statement = select(deployments).where(deployments.c.id == deployment).with_for_update()
        row = connection.execute(statement).one_or_none()
        if row is None:
            raise StoreError(
                f"the state store {self.path} has no deployment {deployment}",
                hint="`backstay history ENV` lists those it has",
            )
        return from_row(row._asdict(), Deployment)

    def _is_ready(self, migrations: Path) -> bool:
        with translated(self.path, "opened"), self._reads.connect() as connection:
            stands = standing_of(connection, self.path, migrations)
            return stands is Standing.CURRENT and uses_write_ahead_log(connection)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A write transaction: the write lock from its start, all or nothing, its errors translated."""
        with translated(self.path, "written"), self._writes.begin() as connection:
            yield connection

    def _moment(self, connection: Connection) -> Now:
        """Now, for the lease: by the clock that all owners of leases in this store are measured with."""
        return self.now()

    def _now(self) -> str:
        return timestamp(self._clock.now())

    def _now_s(self) -> float:
        return self._clock.now().timestamp()


def open_store(location: str | Path, clock: Clock, *, migrations: Path = MIGRATIONS) -> SqlStore:
    """The store at a path or `sqlite:///PATH`, for reading and writing. See SqlStore."""
    return SqlStore(location, clock, migrations=migrations)
