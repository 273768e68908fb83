"""Processes of a scratch server, found by where they work: a record of theirs may be missing, their folder never is."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Final

from backstay.errors import DatabaseError

PROC: Final = Path("/proc")
QUIET_S: Final = 5.0
DEATH_S: Final = 10.0


def working_in(folder: Path) -> list[int]:
    """The pids whose working directory is `folder` or below."""
    inside = f"{folder}/"
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                place = str((entry / "cwd").readlink()).removesuffix(" (deleted)")
                if f"{place}/".startswith(inside) and not _is_dead(entry):
                    found.append(int(entry.name))
    return found


def end_all_in(folder: Path) -> None:
    """End every process that works in `folder`, and return once they are gone. DatabaseError when one does not die.

    First as PostgreSQL wants it, at once and without a checkpoint: a killed server would leave shared memory behind.
    """
    _signal(working_in(folder), signal.SIGQUIT)
    until = time.monotonic() + QUIET_S
    while (left := working_in(folder)) and time.monotonic() < until:
        time.sleep(0.02)
    until = time.monotonic() + DEATH_S
    while left := working_in(folder):
        if time.monotonic() > until:
            raise DatabaseError(f"processes in {folder} do not die: {left}", hint="look at /proc/PID/status")
        _signal(left, signal.SIGKILL)
        time.sleep(0.02)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _is_dead(entry: Path) -> bool:
    return (entry / "stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
