"""What ports tell, in the words in which drift is decided. Imports little: `status` must be quick."""

from __future__ import annotations

from backstay.domain.drift import SeenContainer, SeenRouter
from backstay.ports.engine import Container
from backstay.ports.router import RouterState


def seen_container(container: Container) -> SeenContainer:
    """One that the engine is starting again by itself counts as running: nobody need do that in its place."""
    return SeenContainer(container.running or container.restarting, container.exit_code, container.port)


def seen_router(state: RouterState) -> SeenRouter:
    binds = None if state.binds is None else frozenset(bind.address for bind in state.binds)
    return SeenRouter(
        state.running, state.kept, state.weights, state.recorded, state.addresses, state.up, state.held, binds
    )
