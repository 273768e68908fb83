"""This Linux machine: processes told apart by pid, kernel start time and boot id; room on disk and in memory."""

from __future__ import annotations

import getpass
import os
import select
import signal
import socket
from pathlib import Path

from backstay.domain.lease import Keeper, Owner, Presence
from backstay.domain.room import Memory, Space
from backstay.errors import BackstayError, Locked

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
        return Owner(
            _user(),
            socket.gethostname(),
            pid,
            started,
            boot_id(),
            machine=machine_id(),
            pid_space=pid_space(),
        )

    def presence(self, owner: Owner) -> Presence:
        if owner.kind is Keeper.PERSON:
            return Presence.UNKNOWN
        if owner.host != socket.gethostname() or owner.machine not in ("", machine_id()):
            return Presence.UNKNOWN
        if owner.boot_id != boot_id():
            return Presence.GONE
        if owner.pid_space not in ("", pid_space()):
            return Presence.UNKNOWN
        return Presence.ALIVE if start_time(owner.pid) == owner.started else Presence.GONE

    def end(self, owner: Owner) -> None:
        if self.presence(owner) is not Presence.ALIVE:
            return
        try:
            process = os.pidfd_open(owner.pid)
        except ProcessLookupError:
            return
        try:
            # Once more: from here on the descriptor means this very process, whoever gets its pid later.
            if self.presence(owner) is Presence.ALIVE:
                _kill(process, owner)
        finally:
            os.close(process)

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


def _kill(process: int, owner: Owner) -> None:
    """Kill the process that the descriptor names and wait until the kernel says that it is dead. Locked otherwise."""
    try:
        signal.pidfd_send_signal(process, signal.SIGKILL)
    except ProcessLookupError:
        return
    except PermissionError:
        raise Locked(
            f"{owner} is not heard of any more, but lives, and this user may not end it",
            hint=f"end it as {owner.name} or as root (kill -9 {owner.pid}), and try again",
            state="nothing was changed",
        ) from None
    dead, _, _ = select.select([process], [], [], DEATH_DEADLINE_S)
    if not dead:
        raise Locked(
            f"{owner} is not heard of any more, and does not die either: it was killed {DEATH_DEADLINE_S:g} s ago",
            hint=f"grep State /proc/{owner.pid}/status tells what it waits for; D is mostly a disk or a network",
            state="nothing was changed",
        )


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


def machine_id() -> str:
    """An id of this installation, which outlives reboots; empty where there is none."""
    try:
        return Path("/etc/machine-id").read_text().strip()
    except OSError:
        return ""


def pid_space() -> str:
    """Which numbering our pids belong to; a container mostly has one of its own."""
    try:
        return str((PROC / "self/ns/pid").readlink())
    except OSError:
        return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
