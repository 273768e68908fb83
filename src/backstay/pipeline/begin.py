"""Begin a deployment: make sure nobody else acts, take the lease, and hand over to a detached worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from backstay.domain.deployment import Deployment, DeploymentState
from backstay.domain.environment import Environment
from backstay.domain.lease import LEASE_TIME_S, WATCH_S, Claim, Lease, Now, Presence, claim, cure, shows_life
from backstay.domain.plan import Plan
from backstay.errors import Locked, UsageError
from backstay.pipeline.home import HOST, refuse_elsewhere
from backstay.pipeline.left import refuse_unreadable, unfinished
from backstay.pipeline.record import BEGUN
from backstay.pipeline.times import rfc3339
from backstay.ports.clock import Clock
from backstay.ports.host import Host
from backstay.ports.store import Reader, Store

WATCH_POLL_S = 0.2

Spawn = Callable[[Lease, str], None]
"""Starts a detached worker for the lease's token and a deployment id; returns once the worker adopted the lease."""


@dataclass(frozen=True, slots=True)
class Beginner:
    """What beginning needs."""

    store: Store
    host: Host
    clock: Clock
    spawn: Spawn
    say: Callable[[str], None] = lambda text: None
    """Tells the person who waits what for."""

    def claimed(self, app: str, environment: str) -> Lease | None:
        """The lease that we may take over, its owner surely not acting; None when it is free. Locked otherwise."""
        held, watched = held_lease(self.store, app, environment), False
        while held is not None:
            match claim(held, self.host.presence(held.owner), self.store.now(), watched=watched):
                case Claim.REFUSE:
                    raise locked(held, self.store)
                case Claim.WATCH:
                    held, watched = self._watch(held), True
                case Claim.KILL_FIRST:
                    self.say(f"{held.owner} hangs: killing it")
                    self.host.end(held.owner)
                    return held
                case _:
                    return held
        return None

    def _watch(self, held: Lease) -> Lease | None:
        """Look for a sign of life of an owner that seems to have expired. Locked as soon as there is one."""
        self.say(
            f"{held.owner} has not been heard of for {held.lasts_s:g} s; watching it for {WATCH_S:g} s more …"
        )
        end = self.clock.monotonic() + WATCH_S
        while self.clock.monotonic() < end and self.host.presence(held.owner) is not Presence.GONE:
            self.clock.sleep(WATCH_POLL_S)
            now = self.store.lease(held.app, held.environment)
            if now is None:
                return None
            if shows_life(held, now):
                raise locked(now, self.store)
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
        refuse_elsewhere(self.store, self.host, app, environment)
        settings = self.store.environment_of(dead.id)
        lease = self.store.take_lease(
            app,
            environment,
            self.host.owner(),
            f"recover {dead.id}",
            dead.id,
            replaces=held,
            lasts_s=settings.policy.lease_s if settings else LEASE_TIME_S,
        )
        self.spawn(lease, dead.id)
        wait(dead.id)
        return self.store.deployment(dead.id)

    def start(self, id_: str, plan: Plan, environment: Environment, extra: Mapping[str, Any]) -> Deployment:
        """Record the deployment with its lease in one transaction, and start its worker.

        Raises UsageError when the environment's live slot runs on another engine, for this one could not retire it,
        or its router on another control host.
        """
        self._refuse_other_engine(environment)
        refuse_elsewhere(self.store, self.host, environment.app, environment.name)
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
        record = {**extra, HOST: owner.host, BEGUN: asdict(self.clock.uptime())}
        lease = self.store.begin(deployment, plan.release, environment, owner, purpose, record, replaces=held)
        if held is not None and held.is_manual:
            ended = run_out(held, self.store.now())
            self.store.tell(lease.token, id_, "lock_run_out", f"{ended}; going on without it")
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


def held_lease(store: Store, app: str, environment: str) -> Lease | None:
    """The lease as a newcomer sees it: with its end put right, if a clock that was set has made that impossible."""
    held = store.lease(app, environment)
    return store.correct_lease(held) if held is not None and held.is_misdated(store.now()) else held


def locked(held: Lease, store: Reader) -> Locked:
    """The refusal that names who holds the environment."""
    deployment = store.deployment(held.deployment) if held.deployment else None
    doing = f", {deployment.state}" if deployment else ""
    until = "until" if held.is_manual else "at most until"
    return Locked(
        f"{held.environment} is locked by {held.owner} for {held.purpose}{doing}, "
        f"since {_clock(held.acquired_at)} and {until} {_clock(held.ends_at(store.now()))}",
        hint=cure(held),
        state="nothing was changed",
    )


def run_out(held: Lease, now: Now) -> str:
    """What there is to say about a manual lock that nobody released."""
    return f"the lock of {held.owner} for {held.purpose} ran out at {_clock(held.ends_at(now))}"


def _clock(epoch_s: float) -> str:
    return rfc3339(datetime.fromtimestamp(epoch_s, UTC))
