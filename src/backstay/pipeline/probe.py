"""The one way a component's health is asked: its health path, on its private port."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from backstay.domain.release import Component, Health
from backstay.domain.slot import Placement
from backstay.domain.smoke import Answer
from backstay.ports.prober import Prober

DEADLINE_S = 2.0


def ask_health(
    prober: Prober, placement: Placement, health: Health, deadline_s: float = DEADLINE_S
) -> Answer:
    """One health probe of the container in `placement`; never raises, as the prober never does."""
    return prober.ask(
        placement.host, placement.port, health.path, headers=health.headers, deadline_s=deadline_s
    )


def first_sick(
    prober: Prober, placements: Mapping[str, Placement], components: Mapping[str, Component]
) -> str | None:
    """The first component that does not answer its health path, with what it said; None when all do. Asks all at
    once."""
    if not placements:
        return None

    def ask(item: tuple[str, Placement]) -> str | None:
        name, placement = item
        component = components.get(name)
        if component is None:
            return f"{name}: its release is not on record"
        answer = ask_health(prober, placement, component.health)
        return None if answer.is_healthy else f"{name}: {answer.error or answer.status}"

    with ThreadPoolExecutor(max_workers=len(placements)) as pool:
        found = list(pool.map(ask, placements.items()))
    return next((said for said in found if said), None)
