"""The one way a component's health is asked: its health path, on its private port."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait

from backstay.domain.release import Component, Health
from backstay.domain.slot import Placement
from backstay.domain.smoke import Answer
from backstay.ports.prober import Prober

DEADLINE_S = 2.0
TURN_S = 0.1


def ask_health(
    prober: Prober, placement: Placement, health: Health, deadline_s: float = DEADLINE_S
) -> Answer:
    """One health probe of the container in `placement`; never raises, as the prober never does."""
    return prober.ask(
        placement.host, placement.port, health.path, headers=health.headers, deadline_s=deadline_s
    )


def ask_all(
    prober: Prober,
    placements: Mapping[str, Placement],
    components: Mapping[str, Component],
    deadline_s: float = DEADLINE_S,
    meanwhile: Callable[[], None] = lambda: None,
) -> dict[str, Answer]:
    """The health of every component, in the order of `placements`, asked all at once: so all that hang together cost
    one deadline.

    `meanwhile` is called every TURN_S seconds until all have answered. What it raises comes through at once; the
    requests under way end by themselves.
    """

    def ask(name: str, placement: Placement) -> Answer:
        component = components.get(name)
        if component is None:
            return Answer(error="its release is not on record")
        return ask_health(prober, placement, component.health, deadline_s)

    if not placements:
        return {}
    pool = ThreadPoolExecutor(max_workers=len(placements))
    try:
        jobs = {name: pool.submit(ask, name, placement) for name, placement in placements.items()}
        while wait(jobs.values(), TURN_S).not_done:
            meanwhile()
        return {name: job.result() for name, job in jobs.items()}
    finally:
        pool.shutdown(wait=False)


def first_sick(
    prober: Prober, placements: Mapping[str, Placement], components: Mapping[str, Component]
) -> str | None:
    """The first component that does not answer its health path, with what it said; None when all do."""
    answers = ask_all(prober, placements, components)
    return next((f"{n}: {a.error or a.status}" for n, a in answers.items() if not a.is_healthy), None)
