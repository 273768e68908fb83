"""systemd, told by datagrams to the socket it names (sd_notify(3))."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


class Systemd:
    """Implements ports.manager.Manager."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        watched = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._is_watched = watched and environ.get("WATCHDOG_USEC", "").isdigit()

    def ready(self, status: str) -> None:
        self._tell(f"READY=1\nMAINPID={os.getpid()}\nSTATUS={status}")

    def alive(self, status: str) -> None:
        self._tell(f"STATUS={status}" + ("\nWATCHDOG=1" if self._is_watched else ""))

    def stopping(self) -> None:
        self._tell("STOPPING=1\nSTATUS=stopping")

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        # @ stands for the zero byte that begins an abstract address.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(1)
            channel.sendto(text.encode(), address)
