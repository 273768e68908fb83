"""The state of a slot's containers, as a smoke test."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from backstay.domain.kinds import ContainerState, judge_containers
from backstay.domain.slot import Placement
from backstay.domain.smoke import Finding
from backstay.errors import EngineError
from backstay.ports.engine import Container, Engine


def look_at_containers(
    engine: Engine, placements: Mapping[str, Placement], since: datetime, *, deploying: bool = False
) -> Finding:
    """Ask the engine for each container; restarts before `since` are history and do not count.

    An engine that is ill says nothing about a release: `deploying`, its silence is told and stops nothing.
    """
    try:
        found = {name: engine.inspect(placement.container) for name, placement in placements.items()}
    except EngineError as error:
        severity = "notice" if deploying else "error"
        return Finding(False, f"not told: {error.message}", error.hint, severity)
    return judge_containers({name: _state(c, since) if c else None for name, c in found.items()})


def _state(found: Container, since: datetime) -> ContainerState:
    try:
        is_fresh = datetime.fromisoformat(found.started_at) >= since
    except (ValueError, TypeError):  # an engine that does not say when: count all, rather than none
        is_fresh = True
    return ContainerState(found.running, found.restarting, found.restarts if is_fresh else 0, found.exit_code)
