"""Loopback ports of this host that nobody uses.

A port is chosen once and stays for the life of what listens there: the router would else lead elsewhere.
"""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Collection, Iterator


def free_ports(port_range: tuple[int, int], reserved: Collection[int]) -> Iterator[int]:
    """The ports of `port_range` (both ends included) that are free now, in random order.

    Random, because two deployments that choose at the same time should rarely choose the same. `reserved` are
    ports of what does not listen now and will want them back.
    """
    first, last = port_range
    candidates = [port for port in range(first, last + 1) if port not in reserved]
    random.shuffle(candidates)
    return (port for port in candidates if is_free(port))


def is_free(port: int) -> bool:
    """Whether loopback `port` could be listened on now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: old connections in TIME_WAIT do not hold a port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True
