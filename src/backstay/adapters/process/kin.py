"""Which processes belong together, read from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
MARKER: Final = "BACKSTAY_PROCESS"
"""Environment variable with the id of the process; whatever it starts inherits it."""


def descendants(ancestor: int) -> list[int]:
    """Children of a process, their children, and so on; also those that ended and were not reaped yet."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        if (parent := _parent(pid)) is not None:
            children.setdefault(parent, []).append(pid)
    found, waiting = [], [ancestor]
    while waiting:
        mine = children.get(waiting.pop(), [])
        found += mine
        waiting += mine
    return found


def marked(process: str) -> list[int]:
    """Running processes with the marker of `process` in their environment."""
    entry = f"{MARKER}={process}".encode()
    found = []
    for pid in _pids():
        try:
            environment = (_PROC / str(pid) / "environ").read_bytes()
        except OSError:  # it ended while we looked, or is somebody else's
            continue
        if entry in environment.split(b"\0") and pid != os.getpid():
            found.append(pid)
    return found


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())


def _parent(pid: int) -> int | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[1])
