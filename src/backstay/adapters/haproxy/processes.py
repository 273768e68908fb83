"""Which processes of this host are the holder, or an HAProxy, of a router's folder; read from /proc, stdlib only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from backstay.adapters.haproxy.config import CONFIG

HOLDER: Final = "backstay.adapters.haproxy.holder"
PID_FILE: Final = "haproxy.pid"


def holders(folder: Path) -> list[int]:
    """Pids of the holders that were started for this folder, by a user whose processes we may look at."""
    wanted = [HOLDER.encode(), str(folder).encode()]
    return [pid for pid in _pids() if _words(pid)[-2:] == wanted and _sees_our_files(pid)]


def serves(pid: int, config: Path) -> bool:
    """Whether it is an HAProxy with this configuration."""
    return str(config).encode() in _words(pid)[1:]


def orphan(folder: Path) -> int | None:
    """Pid of an HAProxy that an earlier holder of this folder left running: the one it wrote down, or, where that
    file is gone too, the newest."""
    config = folder / CONFIG
    try:
        pid = int((folder / PID_FILE).read_text())
    except (OSError, ValueError):
        found = [pid for pid in _pids() if serves(pid, config) and _sees_our_files(pid)]
        return max(found, key=_started, default=None)
    return pid if serves(pid, config) else None


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())


def _words(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return []


def _sees_our_files(pid: int) -> bool:
    """Whether a path means the same to it: a container may have one of the same name."""
    try:
        return Path(f"/proc/{pid}/ns/mnt").readlink() == Path("/proc/self/ns/mnt").readlink()
    except OSError:
        return False


def _started(pid: int) -> int:
    """Clock ticks after the boot (field 22 of /proc/PID/stat, counted after the name, which may hold anything)."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0
