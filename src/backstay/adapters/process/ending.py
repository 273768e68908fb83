"""Ending a process, its supervisor and whatever it started, so that nothing of it is left."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Final

from backstay.adapters.process.kin import marked
from backstay.adapters.process.records import Mark, Record, Records
from backstay.errors import EngineError

DEATH_S: Final = 10.0
_POLL_S: Final = 0.02


def end(records: Records, record: Record, grace_s: float) -> None:
    """Ask the program to end, kill it after `grace_s` seconds. EngineError when something cannot be killed."""
    _signal(records, record, signal.SIGTERM)
    if not _ended(records, record, grace_s):
        _signal(records, record, signal.SIGKILL)
    _sweep(records, record)


def kill(records: Records, record: Record) -> None:
    """Kill the program without asking. EngineError when something cannot be killed."""
    _signal(records, record, signal.SIGKILL)
    _sweep(records, record)


def _signal(records: Records, record: Record, number: signal.Signals) -> None:
    """Send a signal to the program; its supervisor sees the end of it and records it."""
    state = records.state(record.name)
    if state is not None and state.program is not None:
        _send(state.program, number)


def _kill_supervisor(records: Records, record: Record) -> None:
    """For one that hangs: the kernel kills its program with it."""
    if state := records.state(record.name):
        _send(state.supervisor, signal.SIGKILL)


def _ended(records: Records, record: Record, within_s: float) -> bool:
    """Whether the process, and its supervisor with it, ends in time."""
    until = time.monotonic() + within_s
    while True:
        state = records.state(record.name)
        if state is None or not state.supervisor.is_alive:
            return True
        left = until - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(_POLL_S, left))


def _sweep(records: Records, record: Record) -> None:
    """Make sure that nothing of the process is left, also when its supervisor was killed.

    EngineError when something cannot be killed: a process waiting for a dead disk, say.
    """
    if not _ended(records, record, DEATH_S):
        _kill_supervisor(records, record)
    if not _ended(records, record, DEATH_S):
        raise EngineError(
            f"process {record.name!r} does not end, although it was killed",
            hint=f"look for it with: grep -la {record.id} /proc/[0-9]*/environ",
        )
    until = time.monotonic() + DEATH_S
    while left := marked(record.id):
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > until:
            raise EngineError(f"{record.name!r} left processes that cannot be killed: {left}")
        time.sleep(_POLL_S)


def _send(mark: Mark, number: signal.Signals) -> None:
    if mark.is_alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(mark.pid, number)
