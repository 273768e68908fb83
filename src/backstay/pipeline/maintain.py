"""Bring an environment into order outside any deployment: what differs from the records, and what was left behind."""

from __future__ import annotations

import secrets as random_source
from collections.abc import Callable
from dataclasses import dataclass

from backstay.domain.deployment import Deployment
from backstay.domain.drift import Drift
from backstay.domain.environment import Environment
from backstay.domain.lease import Lease
from backstay.domain.plan import Plan
from backstay.errors import EngineError
from backstay.pipeline.begin import Beginner
from backstay.pipeline.fence import Fence, fenced
from backstay.pipeline.heal import CURE_FAILED, Healed, heal, look
from backstay.pipeline.home import elsewhere, refuse_elsewhere
from backstay.pipeline.orphans import find_orphans, sweep
from backstay.pipeline.run import Run, World
from backstay.pipeline.served import nonce_of
from backstay.ports.store import Reader

PURPOSE = "recover"

WorldOf = Callable[[Environment], World]


@dataclass(frozen=True, slots=True)
class Order:
    """What was found out of order and put right. `removed` are words for people, `left` is what still differs, and
    `failed` says what kept us from curing it."""

    cured: tuple[Drift, ...] = ()
    removed: tuple[str, ...] = ()
    left: tuple[Drift, ...] = ()
    failed: tuple[str, ...] = ()


def keeper_of(store: Reader, app: str, environment: str) -> Deployment | None:
    """The deployment by whose records the environment is kept: the one that serves, else the newest that began."""
    slots = store.slots(app, environment)
    mapping = slots.serving or next(iter(slots.mappings.values()), None)
    if mapping is not None:
        return store.deployment(mapping.deployment)
    return next((d for d in reversed(store.history(app, environment)) if d.token is not None), None)


def find(store: Reader, app: str, environment: str, world_of: WorldOf) -> Order:
    """What `maintain` would put right now. Only looks; `removed` names what would go."""
    run = _run(store, app, environment, world_of)
    if run is None:
        return Order()
    if home := elsewhere(store, run.world.host, app, environment):
        return Order(left=(Drift("control host", home, run.world.host.owner().host),))
    drift = look(run)
    return Order(removed=tuple(_to_remove(run)), left=tuple(drift))


def maintain(
    beginner: Beginner, app: str, environment: str, world_of: WorldOf, *, only_if_seen: bool = False
) -> Order:
    """Heal and sweep under a lease of our own. Raises Locked when somebody acts here, UsageError when the environment
    lives on another control host, LeaseLost.

    With `only_if_seen`, for who looks often: a lease is taken only when something is seen to be out of order, and files
    that were left behind wait until then.
    """
    store = beginner.store
    refuse_elsewhere(store, beginner.host, app, environment)
    found = (
        find(store, app, environment, world_of)
        if only_if_seen or not keeper_of(store, app, environment)
        else None
    )
    if found is not None and not found.removed and not any(drift.cure for drift in found.left):
        return found
    held = beginner.claimed(app, environment)
    lease = store.take_lease(app, environment, beginner.host.owner(), PURPOSE, None, replaces=held)
    try:
        run = _run(store, app, environment, world_of, lease)
        if run is None:
            return Order()
        before = max((event.seq for event in store.events(run.deployment.id)), default=0)
        healed: Healed = heal(run)
        since = store.events(run.deployment.id, before)
        failed = tuple(event.message for event in since if event.kind == CURE_FAILED)
        return Order(healed.cured, tuple(sweep(run)), healed.left, failed)
    finally:
        store.release_lease(lease)


def _run(
    store: Reader, app: str, environment: str, world_of: WorldOf, lease: Lease | None = None
) -> Run | None:
    """The work on the environment as a run of the deployment by whose records it is kept; events go to its story."""
    keeper = keeper_of(store, app, environment)
    settings = store.environment_of(keeper.id) if keeper else None
    release = store.release(keeper.release) if keeper and keeper.release else None
    if keeper is None or settings is None or release is None:
        return None
    # Its own plan is history: what stands now is what to go by, and nothing new is made.
    plan = Plan(keeper.kind, release, None, {}, store.slots(app, environment))
    nonce = nonce_of(store, settings) or random_source.token_hex(16)
    token = lease.token if lease else newest_token(store, app, environment)
    world = world_of(settings)
    if lease is not None:
        world = fenced(world, Fence(store, lease))
    return Run(keeper, plan, settings, token, nonce, world)


def newest_token(store: Reader, app: str, environment: str) -> int:
    """The highest token on record: of the lease while it is held, else of a deployment."""
    held = store.lease(app, environment)
    tokens = [d.token for d in store.history(app, environment) if d.token is not None]
    return max([*tokens, held.token if held else 0])


def _to_remove(run: Run) -> list[str]:
    try:
        return [f"container {container.name}" for container in find_orphans(run)]
    except EngineError:
        return []
