"""The full state of an environment at one moment: what runs, what serves, with which settings and secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

from backstay.domain.environment import Environment
from backstay.domain.slot import Slot, Slots
from backstay.errors import EngineError
from backstay.pipeline.times import rfc3339
from backstay.ports.clock import Clock
from backstay.ports.engine import Engine
from backstay.ports.router import Router
from backstay.ports.store import Reader


class Ports(Protocol):
    """What a snapshot needs; nothing of it writes."""

    @property
    def store(self) -> Reader: ...
    @property
    def engine(self) -> Engine: ...
    @property
    def router(self) -> Router: ...
    @property
    def clock(self) -> Clock: ...


def snapshot(
    ports: Ports,
    environment: Environment,
    fingerprints: Mapping[str, str],
    slots: Slots | None = None,
    weights: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Containers, releases, slots, router and configuration as plain JSON. Of secrets only the fingerprints.

    `slots` and `weights` are told by who has flipped already; else they are as they are now. An engine that does
    not answer is part of the state, not an error.
    """
    if slots is None:
        slots = ports.store.slots(environment.app, environment.name)
    taken = {
        "taken_at": rfc3339(ports.clock.now()),
        "slots": _slots(ports.store, slots),
        "containers": _containers(ports.engine, environment),
        "router": _router(ports.router, weights),
        "configuration": asdict(environment),
        "secrets": dict(fingerprints),
    }
    plain: dict[str, Any] = json.loads(json.dumps(taken))
    return plain


def _slots(store: Reader, slots: Slots) -> dict[str, Any]:
    found: dict[str, Any] = {"live": slots.live}
    for slot, mapping in slots.mappings.items():
        release = store.release(mapping.release)
        found[slot] = {
            "version": mapping.version,
            "release": mapping.release,
            "deployment": mapping.deployment,
            "since": mapping.since,
            "images": {name: c.reference for name, c in release.components.items()} if release else {},
            "containers": {name: placement.name for name, placement in mapping.placements.items()},
        }
    return found


def _containers(engine: Engine, environment: Environment) -> dict[str, Any]:
    try:
        found = engine.find({"backstay.app": environment.app, "backstay.environment": environment.name})
    except EngineError as error:
        return {"unknown": error.message}
    return {
        container.name: {
            "id": container.id,
            "image": container.image,
            "running": container.running,
            "restarts": container.restarts,
            "port": container.port,
            "started_at": container.started_at,
            "labels": dict(container.labels),
        }
        for container in found
    }


def _router(router: Router, weights: Mapping[str, int] | None) -> dict[str, Any]:
    state = router.state()
    return {
        "running": state.running,
        "token": state.token,
        "weights": weights or {slot: state.weights.get(slot, 0) for slot in Slot},
        "up": {slot: sorted(state.up.get(slot, ())) for slot in Slot},
    }
