"""The engine's words about the loopback port of a container.

The port is fixed for the container's life: one that the engine picks changes at every restart, and the router
would lead elsewhere.
"""

from __future__ import annotations

from backstay.errors import EngineError

_TAKEN = ("port is already allocated", "address already in use")


def is_taken(said: str) -> bool:
    """Whether the engine's words mean that the port was taken in the meantime."""
    return any(words in said.lower() for words in _TAKEN)


def none_free(port_range: tuple[int, int], tried: int) -> EngineError:
    first, last = port_range
    after = f" ({tried} were taken by somebody else in the last moment)" if tried else ""
    return EngineError(
        f"no free loopback port between {first} and {last}{after}",
        hint="give the environment a wider range, or remove containers that are not needed: docker ps -a",
    )
