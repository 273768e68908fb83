"""Whether what a rollback would go back to is still there. Only looks."""

from __future__ import annotations

from collections.abc import Callable

from backstay.domain.release import Release
from backstay.domain.slot import SlotMapping
from backstay.errors import EngineError
from backstay.pipeline.probe import first_sick
from backstay.ports.engine import Engine
from backstay.ports.prober import Prober


def gone(
    prober: Prober, engine_of: Callable[[], Engine], mapping: SlotMapping, release: Release
) -> frozenset[str]:
    """Ids of the slot's containers that the engine has no more, as somebody removed them.

    The engine is asked only about a slot that does not answer. What has stopped is not gone, and where the engine does
    not answer nothing is.
    """
    if first_sick(prober, mapping.placements, release.components) is None:
        return frozenset()
    try:
        engine = engine_of()
        return frozenset(id_ for id_ in sorted(mapping.containers) if engine.inspect(id_) is None)
    except EngineError:
        return frozenset()
