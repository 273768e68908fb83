"""Starts processes that outlive us, recognises them later, and ends exactly those."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from tests.world.commands import clean_environment
from tests.world.errors import WorldError
from tests.world.state import Mark

PROC = Path("/proc")
MARKER_VARIABLE = "BACKSTAY_WORLD_MARKER"


def boot_id() -> str:
    """Changes with every boot; process ids of another boot mean nothing."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def start(
    argv: Sequence[str | Path],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
) -> Mark:
    """Start in a session of its own (Ctrl-C does not reach it), with output in ``log``."""
    with log.open("ab") as stream:
        child = subprocess.Popen(
            [str(word) for word in argv],
            env=clean_environment(env),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            cwd="/",
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
    fields = _stat(child.pid)
    if fields is None:
        raise WorldError(f"{argv[0]} ended at once:\n{tail(log)}")
    # Nobody waits for it through this object: it is told apart by its start time from now on.
    child.returncode = 0
    return Mark(child.pid, int(fields[19]))


def alive(mark: Mark) -> bool:
    """Whether this very process runs (a zombie does not)."""
    fields = _stat(mark.pid)
    if fields is None or int(fields[19]) != mark.started:
        return False
    if fields[0] == "Z":
        _reap(mark.pid)
        return False
    return True


def mark_of(pid: int) -> Mark | None:
    fields = _stat(pid)
    return None if fields is None or fields[0] == "Z" else Mark(pid, int(fields[19]))


def family(roots: Collection[int]) -> set[Mark]:
    """The given processes with all that descend from them."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        fields = _stat(pid)
        if fields is not None:
            children.setdefault(int(fields[1]), []).append(pid)
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children.get(pid, []))
    return {mark for mark in map(mark_of, found) if mark is not None}


def marked(marker: str) -> set[Mark]:
    """Every process that carries the marker in its environment or control group, with descendants.

    This finds what a killed engine left behind: shims inherit the environment, containers the group.
    """
    entry = f"{MARKER_VARIABLE}={marker}".encode()
    found = set()
    for pid in _pids():
        try:
            environment = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
            groups = (PROC / str(pid) / "cgroup").read_text()
        except OSError:  # it ended while we looked
            continue
        if entry in environment or f"/{marker}" in groups:
            found.add(pid)
    return family(found) if found else set()


def working_in(folder: Path) -> set[Mark]:
    """Every process whose working directory is this one, such as the sessions of a killed database server."""
    found = []
    for pid in _pids():
        try:
            if (PROC / str(pid) / "cwd").readlink() == folder:
                found.append(mark_of(pid))
        except OSError:  # it ended while we looked
            continue
    return {mark for mark in found if mark is not None}


def end(marks: Collection[Mark], *, first: signal.Signals = signal.SIGTERM, grace: float = 10) -> None:
    """Ask, then force, then make sure; WorldError when one of them is still there."""
    for number, seconds in ((first, grace), (signal.SIGKILL, 10.0)):
        for mark in marks:
            send(mark, number)
        if wait_until(lambda: not any(map(alive, marks)), seconds, pause=0.02):
            return
    stuck = [mark.pid for mark in marks if alive(mark)]
    if stuck:
        raise WorldError(f"these processes cannot be ended: {stuck}")


def wait_until(done: Callable[[], bool], seconds: float, pause: float = 0.05) -> bool:
    """Whether ``done`` became true within the time."""
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(pause)
    return True


def await_service(name: str, mark: Mark, answers: Callable[[], bool], log: Path, seconds: float = 30) -> None:
    """Return once the service answers; WorldError with its last log lines when it ends or stays silent."""
    wait_until(lambda: answers() or not alive(mark), seconds)
    if not alive(mark):
        raise WorldError(f"{name} ended while starting:\n{tail(log)}")
    if not answers():
        raise WorldError(f"{name} does not answer after {seconds:.0f} s:\n{tail(log)}")


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log, for an error message."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(no log)"


def send(mark: Mark, number: signal.Signals) -> None:
    if alive(mark):
        try:
            os.kill(mark.pid, number)
        except ProcessLookupError:
            return


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # another process is its parent
        return


def _pids() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> list[str] | None:
    """The fields after the name: [0] state, [1] parent, [19] start time."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()
