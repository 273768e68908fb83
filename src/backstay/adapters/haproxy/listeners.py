"""Who listens on a port of this host, read from /proc, and whether we still can."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

LISTEN = "0A"


def listener(port: int, is_ours: Callable[[int], bool]) -> tuple[int, str] | None:
    """Pid and name of a process that listens on TCP `port` and is not ours, by its pid; pid 0 when it belongs to
    somebody we may not look at; None when nobody else listens."""
    strange = _listening_inodes(port)
    found: tuple[int, str] | None = None
    for folder in Path("/proc").iterdir() if strange else ():
        held = _held(folder, strange) if folder.name.isdigit() else set()
        if held and is_ours(int(folder.name)):
            strange -= held
        elif held:
            try:
                found = int(folder.name), (folder / "comm").read_text().strip()
            except OSError:
                continue
    return (found or (0, "another user's process")) if strange else None


def bind_fault(host: str, port: int) -> int | None:
    """Why we could not listen on the address, as an errno; None when we can, also while somebody listens on the same
    port of another address."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
    except OSError as error:
        return error.errno
    return None


def _listening_inodes(port: int) -> set[str]:
    """How /proc calls the sockets that listen on the port."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    return inodes


def _held(process: Path, inodes: set[str]) -> set[str]:
    """Those of the sockets that a process has open, as far as we may look."""
    held: set[str] = set()
    try:
        entries = list((process / "fd").iterdir())
    except OSError:
        return held
    for entry in entries:
        try:
            held.add(str(entry.readlink()))
        except OSError:  # closed since we listed it, as our own look at this folder is
            continue
    return held & inodes
