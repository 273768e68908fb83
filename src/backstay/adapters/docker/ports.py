"""Choosing a loopback port for a container.

The port is fixed for the container's life: one that the engine picks changes at every restart, and the router
would lead elsewhere.
"""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Collection, Iterator

from backstay.errors import EngineError

_TAKEN = ("port is already allocated", "address already in use")


def free_ports(port_range: tuple[int, int], reserved: Collection[int]) -> Iterator[int]:
    """The ports of `port_range` (both ends included) that are free now, in random order.

    Random, because two deployments that choose at the same time should rarely choose the same. `reserved` are
    ports of containers that do not run and will want theirs back.
    """
    first, last = port_range
    candidates = [port for port in range(first, last + 1) if port not in reserved]
    random.shuffle(candidates)
    return (port for port in candidates if _is_free(port))


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


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the engine's own proxy does: old connections in TIME_WAIT do not hold a port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True
