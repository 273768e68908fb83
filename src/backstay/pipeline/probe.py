"""The one way a component's health is asked: its health path, on its private port."""

from __future__ import annotations

from backstay.domain.release import Health
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
