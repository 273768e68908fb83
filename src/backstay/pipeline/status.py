"""What an environment does now: asked from engine and router, compared with what the store says (law 10)."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from backstay.domain.backup import newest_whole, notice
from backstay.domain.deployment import Deployment
from backstay.domain.drift import Drift, drifts
from backstay.domain.lease import Presence
from backstay.domain.release import Component, Release
from backstay.domain.slot import Placement, Slot, SlotMapping
from backstay.errors import EngineError
from backstay.pipeline.binds import expected_binds
from backstay.pipeline.home import elsewhere
from backstay.pipeline.lock import lock
from backstay.pipeline.probe import ask_health
from backstay.pipeline.seen import seen_container, seen_router
from backstay.pipeline.times import parse_rfc3339
from backstay.ports.clock import Clock
from backstay.ports.engine import Container, Engine
from backstay.ports.host import Host
from backstay.ports.prober import Prober
from backstay.ports.router import Router
from backstay.ports.store import Reader


class Ports(Protocol):
    """What a look needs; nothing of it writes."""

    store: Reader
    engine: Engine
    router: Router
    prober: Prober
    host: Host
    clock: Clock


def status(ports: Ports, app: str, environment: str) -> dict[str, Any]:
    """The status document of the contract. An engine or router that does not answer becomes drift, not an error."""
    slots = ports.store.slots(app, environment)
    router = ports.router.state()
    containers, trouble = _containers(ports, list(slots.mappings.values()))
    healthy = _health(ports, slots.mappings)
    live, standby = slots.serving, slots.standby
    under_way = _deployment(ports, app, environment)
    seen_containers = {id_: seen_container(found) if found else None for id_, found in containers.items()}
    binds = expected_binds(ports.store, None if trouble else ports.engine, app, environment)
    seen = seen_router(router)
    drift = trouble + drifts(slots, seen, seen_containers, settled=under_way is None, binds=binds)
    if home := elsewhere(ports.store, ports.host, app, environment):
        # What differs here says nothing: neither router nor engine of this host are the environment's.
        drift = [Drift("control host", home, ports.host.owner().host)]
    return {
        "app": app,
        "environment": environment,
        "live": _mapping(ports, slots.live, live, containers, healthy),
        "standby": _mapping(ports, slots.live.other if slots.live else None, standby, containers, healthy),
        "weights": {slot.value: router.weights.get(slot, 0) for slot in Slot},
        "held": router.held.value if router.held else None,
        "deployment": under_way,
        "lock": lock(ports.store, app, environment),
        "last_backup": _last_backup(ports, app, environment),
        "drift": [drift_document(each) for each in drift],
    }


def drift_document(drift: Drift) -> dict[str, Any]:
    """A difference as JSON; `cure` says what `recover`, and any command that changes the environment, does about it."""
    return {
        "what": drift.what,
        "expected": drift.expected,
        "found": drift.found,
        "cure": drift.cure.value if drift.cure else None,
    }


def _containers(ports: Ports, mappings: list[SlotMapping]) -> tuple[dict[str, Container | None], list[Drift]]:
    ids = {p.container for m in mappings for p in m.placements.values()}
    try:
        return {id_: ports.engine.inspect(id_) for id_ in ids}, []
    except EngineError as error:
        return {}, [Drift("engine", "answers", error.message)]


def _health(ports: Ports, mappings: Mapping[Slot, SlotMapping]) -> dict[str, bool]:
    """Whether each container answers its health path on its private port, all asked at once."""
    asked: dict[str, tuple[Placement, Component]] = {}
    for mapping in mappings.values():
        release = ports.store.release(mapping.release)
        for name, placement in mapping.placements.items():
            if release is not None:
                asked[placement.container] = (placement, release.components[name])
    if not asked:
        return {}

    def ask(job: tuple[Placement, Component]) -> bool:
        placement, component = job
        return ask_health(ports.prober, placement, component.health).is_healthy

    with ThreadPoolExecutor(max_workers=len(asked)) as pool:
        return dict(zip(asked, pool.map(ask, asked.values()), strict=True))


def _mapping(
    ports: Ports,
    slot: Slot | None,
    mapping: SlotMapping | None,
    containers: Mapping[str, Container | None],
    healthy: Mapping[str, bool],
) -> dict[str, Any] | None:
    if slot is None or mapping is None:
        return None
    release: Release | None = ports.store.release(mapping.release)
    components = {}
    for name, placement in mapping.placements.items():
        found = containers.get(placement.container)
        components[name] = {
            "image": release.components[name].reference if release else None,
            "version": placement.version,
            "container": placement.container[:12],
            "name": placement.name,
            "port": placement.port,
            "healthy": healthy.get(placement.container, False),
            "restarts": found.restarts if found else None,
        }
    return {
        "release": mapping.version,
        "release_id": mapping.release,
        "slot": slot.value,
        "since": mapping.since,
        "components": components,
    }


def _deployment(ports: Ports, app: str, environment: str) -> dict[str, Any] | None:
    """The deployment under way, whether its worker lives, and else what recovery would do; None when there is none."""
    history = ports.store.history(app, environment)
    active: Deployment | None = next((d for d in reversed(history) if not d.state.is_final), None)
    if active is None:
        return None
    steps = ports.store.steps(active.id)
    held = ports.store.lease(app, environment)
    worker = None
    if held is not None and held.deployment == active.id:
        alive = ports.host.presence(held.owner) is not Presence.GONE
        worker = {"pid": held.owner.pid, "host": held.owner.host, "alive": alive}
    from backstay.pipeline.foresee import foresee, is_dead

    foreseen = foresee(ports, active) if active.token is not None and is_dead(ports, active) else None
    return {
        "id": active.id,
        "state": active.state.value,
        "release": active.version,
        "step": steps[-1].name if steps else None,
        "worker": worker,
        "recovery": {"course": foreseen.course, "why": foreseen.why} if foreseen else None,
    }


def _last_backup(ports: Ports, app: str, environment: str) -> dict[str, Any] | None:
    last = newest_whole(ports.store.backups(app, environment))
    if last is None:
        return None
    age = ports.clock.now() - parse_rfc3339(last.created_at)
    seconds = round(age.total_seconds(), 3)
    return {"id": last.id, "state": last.state.value, "age_s": seconds, "notice": notice(last)}
