"""The state store: deployments, journal, lease, slots, catalog."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from backstay.domain.backup import Backup
from backstay.domain.deployment import Deployment, DeploymentState, Wish
from backstay.domain.environment import Environment
from backstay.domain.lease import LEASE_TIME_S, Lease, Now, Owner
from backstay.domain.notification import Channel, Delivery, Notification
from backstay.domain.release import Release
from backstay.domain.slot import Slots
from backstay.domain.step import Event, StepRecord, StepState, Telling
from backstay.ports.duties import DutyReader, DutyStore


class Reader(DutyReader, Protocol):
    """Questions. None of them writes, creates or upgrades anything; a missing store reads as an empty one."""

    @property
    def is_shared(self) -> bool:
        """Whether other control hosts may use the same store."""

    def deployment(self, deployment: str) -> Deployment | None: ...

    def history(self, app: str, environment: str) -> list[Deployment]:
        """All deployments, oldest first."""

    def release(self, release: str) -> Release | None: ...

    def environment_of(self, deployment: str) -> Environment | None:
        """The settings recorded when the deployment began."""

    def steps(self, deployment: str) -> list[StepRecord]:
        """The journal, in order of position."""

    def events(self, deployment: str, after: int = 0) -> list[Event]:
        """Events with a `seq` greater than `after`, in order."""

    def slots(self, app: str, environment: str) -> Slots: ...

    def lease(self, app: str, environment: str) -> Lease | None:
        """The held lease, expired or not; None when free."""

    def now(self) -> Now:
        """This moment, by the clock that leases of this store are measured with and by this machine's uptime."""

    def backups(self, app: str, environment: str) -> list[Backup]:
        """The catalog, newest first."""

    def wish(self, deployment: str) -> Wish | None: ...

    def notifications(self, app: str, environment: str | None = None) -> list[Notification]:
        """The outbox, newest first: sent, waiting and given up."""

    def snapshot(self, deployment: str) -> Mapping[str, Any] | None:
        """What `begin` was given to remember beside the deployment (secret fingerprints, config path …)."""


class Store(Reader, DutyStore, Protocol):
    """Writes. Those that take a `token` check it in the same transaction and raise LeaseLost when it is stale.

    All raise StoreError when the store cannot be used.
    """

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
        """In one transaction: take the lease under the next token, for as long as the policy says, and record release,
        deployment (with that token) and settings. `replaces` is the lease seen before, when taking over; Locked when
        the lease in the store is held by anybody but `replaces`."""

    def record_refused(
        self, deployment: Deployment, release: Release | None, environment: Environment
    ) -> None:
        """Record an attempt that ended before it had the lease (state failed), for the history only."""

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
        """Take the lease alone, under the next token, for `lasts_s` seconds. Locked as in `begin`."""

    def extend_lease(self, lease: Lease, purpose: str, lasts_s: float) -> Lease:
        """Let a manual lock last `lasts_s` seconds from now, for `purpose`. LeaseLost when the token is stale."""

    def correct_lease(self, lease: Lease) -> Lease | None:
        """Write down when the lease really ends, if the recorded time is wrong because a clock was set. What is held
        now; None when it is free."""

    def adopt(self, lease: Lease, owner: Owner) -> Lease:
        """Hand the lease on to another process of ours under the same token. LeaseLost when it is not ours."""

    def heartbeat(self, lease: Lease) -> Lease:
        """A sign of life: the lease lasts its whole time from now again. LeaseLost when the token is stale."""

    def release_lease(self, lease: Lease) -> None:
        """Free it; nothing happens when the token is stale already."""

    def move(self, token: int, deployment: str, state: DeploymentState, **fields: Any) -> Deployment:
        """Change state (checked against the transitions) and any fields of the deployment."""

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
        """Write the journal: the first write of a name is its intent and gives it the next position.

        `telling` is appended as an event in the same transaction.
        """

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
        """Append an event."""

    def save_slots(self, token: int, app: str, environment: str, slots: Slots) -> None: ...

    def add_backup(self, token: int, backup: Backup) -> None: ...

    def record_backup(self, backup: Backup) -> bool:
        """Put a backup into the catalog without a lease (it acts on no environment). False, and nothing is
        written, when the name is there already."""

    def change_backup(self, backup: str, **changes: Any) -> bool:
        """Change these fields of a catalog entry and no other (state, reason, verified_at, pinned, copied_at …),
        without a lease. False when it is not there."""

    def remove_backup(self, backup: str) -> None:
        """Take a backup out of the catalog; nothing happens when it is not there. Needs no lease either."""

    def ask(self, deployment: str, wish: Wish) -> bool:
        """Record a person's wish (no token: anybody may ask). False when the deployment has ended already."""

    def notify(
        self,
        app: str,
        environment: str,
        status: str,
        component: str,
        message: str,
        channels: Sequence[Channel],
    ) -> list[int]:
        """Put a message for the file log and each of `channels` into the outbox, in one transaction; the rows' ids.
        No token: anybody may tell. What a deployment tells is put there by `begin` and `move` themselves."""

    def claim_notification(
        self, app: str, targets: Collection[str], by: str, only: int | None = None
    ) -> Notification | None:
        """Own the oldest row that is due for one of `targets`, or row `only` if it waits at all; None when there
        is none. Of several senders at once one gets it. `by` is unique for each sender."""

    def settle_notification(self, id_: int, by: str, delivery: Delivery) -> Notification | None:
        """Write how an attempt ended and when the next is due; None when the claim of `by` had run out and
        another sender claimed the row."""

    def retry_notifications(self, app: str, environment: str | None) -> int:
        """Make everything that is not sent due at once, also what was given up; returns how many rows."""

    def close(self) -> None:
        """Close all files; the next question opens them again."""
