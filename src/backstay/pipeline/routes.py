"""What the router must know of the slots, and of the network."""

from __future__ import annotations

from backstay.domain.slot import Slot, Slots
from backstay.pipeline.run import Run
from backstay.ports.router import SlotRoutes, Upstream

ROUTER = "router"
"""The step that finds the gateway."""


def routes_of(run: Run, slots: Slots) -> dict[Slot, SlotRoutes]:
    """What the router must know of each slot that holds something."""
    routes = {}
    for slot, mapping in slots.mappings.items():
        release = (
            run.release if mapping.release == run.release.id else run.world.store.release(mapping.release)
        )
        if release is None:
            continue
        upstreams = {
            name: Upstream(name, placement.host, placement.port, release.components[name].health)
            for name, placement in mapping.placements.items()
        }
        routes[slot] = SlotRoutes(release.routes, upstreams)
    return routes


def known_gateway(run: Run) -> str | None:
    """The network's gateway as this deployment found it, else as the one that serves did; None when neither did."""
    serving = run.plan.before.serving
    for deployment in (run.id, serving.deployment if serving else None):
        journal = run.world.store.steps(deployment) if deployment else []
        for record in journal:
            if record.name == ROUTER and (gateway := record.result.get("gateway")):
                return str(gateway)
    return None
