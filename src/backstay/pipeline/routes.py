"""What the router must know of the slots."""

from __future__ import annotations

from backstay.domain.slot import Slot, Slots
from backstay.pipeline.run import Run
from backstay.ports.router import SlotRoutes, Upstream


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
