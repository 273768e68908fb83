"""Begin a deployment: make sure nobody else acts, take the lease, and hand over to a detached worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from backstay.domain.deployment import Deployment, DeploymentState
from backstay.domain.environment import Environment
from backstay.domain.lease import Claim, Lease, claim, cure
from backstay.domain.plan import Plan
from backstay.errors import Locked, UsageError
from backstay.pipeline.left import refuse_unreadable, unfinished
from backstay.pipeline.times import rfc3339
from backstay.ports.clock import Clock
from backstay.ports.host import Host
from backstay.ports.store import Reader, Store

Spawn = Callable[[Lease, str], None]
"""Starts a detached worker for the lease's token and a deployment id; returns once the worker adopted the lease."""


@dataclass(frozen=True, slots=True)
class Beginner:
    """What beginning needs."""

    store: Store
    host: Host
    clock: Clock
    spawn: Spawn

    def claimed(self, app: str, environment: str) -> Lease | None:
        """The lease that we may take over, its owner surely gone; None when it is free. Locked otherwise."""
        held = self.store.lease(app, environment)
        if held is None:
            return None
        match claim(held, self.host.presence(held.owner), self.clock.now().timestamp()):
            case Claim.REFUSE:
                raise locked(held, self.store)
            case Claim.KILL_FIRST:
                self.host.end(held.owner)
            case _:
                pass
        return held

    def recover(self, app: str, environment: str, wait: Callable[[str], None]) -> Deployment | None:
        """Bring a deployment whose worker died to its end first; that deployment, None when there was none.

        `wait` returns when it has ended. Raises Locked when somebody else acts, NeedsAttention when the journal is
        one that this program must leave alone.
        """
        held = self.claimed(app, environment)
        dead = unfinished(self.store, app, environment)
        if dead is None:
            if held is not None and not held.is_manual:
                self.store.release_lease(held)  # its owner had done everything but this
            return None
        refuse_unreadable(self.store, dead.id)
        lease = self.store.take_lease(
            app, environment, self.host.owner(), f"recover {dead.id}", dead.id, replaces=held
        )
        self.spawn(lease, dead.id)
        wait(dead.id)
        return self.store.deployment(dead.id)

    def start(self, id_: str, plan: Plan, environment: Environment, extra: Mapping[str, Any]) -> Deployment:
        """Record the deployment with its lease in one transaction, and start its worker.

        Raises UsageError when the environment's live slot runs on another engine: this one could not retire it.
        """
        self._refuse_other_engine(environment)
        held = self.claimed(environment.app, environment.name)
        owner = self.host.owner()
        deployment = Deployment(
            id=id_,
            app=environment.app,
            environment=environment.name,
            kind=plan.kind,
            state=DeploymentState.PENDING,
            version=plan.release.version,
            release=plan.release.id,
            previous=plan.previous.id if plan.previous else None,
            token=None,
            requested_by=f"{owner.name}@{owner.host}",
            created_at=rfc3339(self.clock.now()),
            previous_version=plan.previous.version if plan.previous else None,
        )
        purpose = f"{plan.kind} {plan.release.version}"
        lease = self.store.begin(deployment, plan.release, environment, owner, purpose, extra, replaces=held)
        if held is not None and held.is_manual:
            self.store.tell(lease.token, id_, "lock_run_out", f"{run_out(held)}; going on without it")
        self.spawn(lease, id_)
        return deployment

    def _refuse_other_engine(self, environment: Environment) -> None:
        mapping = self.store.slots(environment.app, environment.name).serving
        recorded = self.store.environment_of(mapping.deployment) if mapping else None
        if recorded is not None and recorded.engine != environment.engine:
            raise UsageError(
                f"{environment.name} runs on the {recorded.engine} engine, but backstay.yml says {environment.engine}",
                hint=f"put engine: {recorded.engine} back, or give the other engine an environment of its own",
                state="nothing was changed",
            )


def locked(held: Lease, store: Reader) -> Locked:
    """The refusal that names who holds the environment."""
    deployment = store.deployment(held.deployment) if held.deployment else None
    doing = f", {deployment.state}" if deployment else ""
    until = "until" if held.is_manual else "at most until"
    return Locked(
        f"{held.environment} is locked by {held.owner} for {held.purpose}{doing}, "
        f"since {_clock(held.acquired_at)} and {until} {_clock(held.expires_at)}",
        hint=cure(held),
        state="nothing was changed",
    )


def run_out(held: Lease) -> str:
    """What there is to say about a manual lock that nobody released."""
    return f"the lock of {held.owner} for {held.purpose} ran out at {_clock(held.expires_at)}"


def _clock(epoch_s: float) -> str:
    return rfc3339(datetime.fromtimestamp(epoch_s, UTC))
