"""This Linux machine: processes told apart by pid, kernel start time and boot id; room on disk and in memory."""

from __future__ import annotations

import getpass
import os
import signal
import socket
import time
from pathlib import Path

from backstay.domain.lease import Keeper, Owner, Presence
from backstay.domain.room import Memory, Space
from backstay.errors import BackstayError

PROC = Path("/proc")
DEATH_DEADLINE_S = 5.0
STARTTIME_FIELD = 19
"""Index of `starttime` in /proc/PID/stat counted after the command name (proc(5), field 22)."""


class LinuxHost:
    """Implements ports.host.Host by /proc."""

    def owner(self) -> Owner:
        pid = os.getpid()
        started = start_time(pid)
        if started is None:
            raise BackstayError("/proc does not show this process", hint="mount /proc")
        return Owner(_user(), socket.gethostname(), pid, started, boot_id())

    def presence(self, owner: Owner) -> Presence:
        if owner.kind is Keeper.PERSON:
            return Presence.UNKNOWN
        if owner.host != socket.gethostname():
            return Presence.UNKNOWN
        if owner.boot_id != boot_id():
            return Presence.GONE
        return Presence.ALIVE if start_time(owner.pid) == owner.started else Presence.GONE

    def end(self, owner: Owner) -> None:
        deadline = time.monotonic() + DEATH_DEADLINE_S
        while self.presence(owner) is Presence.ALIVE:
            if time.monotonic() > deadline:
                raise BackstayError(
                    f"process {owner.pid} does not die",
                    hint=f"look at /proc/{owner.pid}/status for its state",
                )
            try:
                os.kill(owner.pid, signal.SIGKILL)
            except ProcessLookupError:
                return
            time.sleep(0.01)

    def space(self, path: str) -> Space | None:
        place = Path(path)
        while True:
            try:
                seen = os.statvfs(place)
                device = place.stat().st_dev
            except FileNotFoundError:
                place = place.parent
                continue
            except OSError:
                return None
            return Space(
                path=str(place),
                device=device,
                free_bytes=seen.f_bavail * seen.f_frsize,
                free_inodes=seen.f_favail if seen.f_files else None,
                read_only=bool(seen.f_flag & os.ST_RDONLY),
            )

    def memory(self) -> Memory:
        try:
            rows = dict(line.split(":", 1) for line in (PROC / "meminfo").read_text().splitlines())
            return Memory(*(int(rows[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable")))
        except (OSError, KeyError, ValueError) as error:
            raise BackstayError("/proc/meminfo does not tell the memory", hint="mount /proc") from error


def start_time(pid: int) -> int | None:
    """Start time of `pid` in clock ticks since boot; None when it is gone or a zombie."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[STARTTIME_FIELD])


def boot_id() -> str:
    """An id that is new at every boot of this machine."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
