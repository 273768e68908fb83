"""A socket on which no call outlives its deadline.

A time-out of the standard library begins anew with every read, so a peer that drips bytes would hold us for ever.
"""

from __future__ import annotations

import socket
import time
from typing import Any


class Deadline:
    """A moment by which a call must have ended. `seconds` is the time it was given."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until then; TimeoutError when it has passed."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"no answer within {self.seconds:g} s")
        return left


class DeadlineSocket(socket.socket):
    """A stream socket whose every wait ends at the deadline, whatever time-out others set on it."""

    def __init__(self, family: int, deadline: Deadline) -> None:
        super().__init__(family, socket.SOCK_STREAM)
        self._deadline = deadline

    def connect(self, address: Any, /) -> None:
        self.settimeout(self._deadline.left())
        super().connect(address)

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(self._deadline.left())
        return super().recv_into(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self.settimeout(self._deadline.left())
        super().sendall(*args, **kwargs)

    def end(self) -> None:
        """Close the descriptor now, also under a stream that was not read to its end."""
        if self.fileno() >= 0:
            socket.close(self.detach())


def connected(host: str, port: int, deadline: Deadline) -> DeadlineSocket:
    """To the first address of `host` that takes the connection; raises what the last one said."""
    refused: OSError | None = None
    for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        made = DeadlineSocket(family, deadline)
        try:
            made.connect(address)
        except TimeoutError:
            made.end()
            raise
        except OSError as error:
            made.end()
            refused = error
        else:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return made
    raise refused or OSError(f"{host} has no address")
