"""Who listens on a port of this host, read from /proc, and whether we still can."""

from __future__ import annotations

import socket
from pathlib import Path

LISTEN = "0A"


def listener(port: int) -> tuple[int, str] | None:
    """Pid and name of a process that listens on TCP `port`; pid 0 when it belongs to somebody we may not look at;
    None when nobody listens."""
    inodes = _listening_inodes(port)
    if not inodes:
        return None
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and _holds(folder, inodes):
            try:
                return int(folder.name), (folder / "comm").read_text().strip()
            except OSError:
                continue
    return 0, "another user's process"


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
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(fields[9])
    return inodes


def _holds(process: Path, inodes: set[str]) -> bool:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    try:
        entries = list((process / "fd").iterdir())
    except OSError:
        return False
    for entry in entries:
        try:
            if str(entry.readlink()) in wanted:
                return True
        except OSError:  # closed since we listed it, as our own look at this folder is
            continue
    return False
