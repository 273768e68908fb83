"""Many processes that want one lease at the same moment: there are never two holders, and how fast it changes hands."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path

from backstay.adapters.clock import SystemClock
from backstay.adapters.host import LinuxHost, start_time
from backstay.adapters.store import open_store
from backstay.errors import LeaseLost, Locked, StoreError
from devtools.bench.environment import as_installed
from devtools.bench.figure import Figure, Result, middle
from tests.store.samples import APP, ENV
from tests.world import World

PROCESSES = 64
RUN_S = 10.0
DEATHS = 5
PATIENCE_S = 180.0
HELD_S = 0.002
"""How long a winner works under its lease, so that a second one would have time to be seen."""

AGAIN_S = 0.05
"""How long who was refused waits: 64 that look all the time would only measure how a processor is shared."""

TAKE_OVER_BAR_S = 2.0

OWNER = """
import sys, time
from backstay.adapters.clock import SystemClock
from backstay.adapters.host import LinuxHost
from backstay.adapters.store import open_store
store = open_store(sys.argv[1], SystemClock())
store.take_lease("shop", sys.argv[2], LinuxHost().owner(), "deploy v1", None)
store.close()
print("held", flush=True)
time.sleep(60)
"""

CLAIM = """
import sys
from backstay import wiring
from backstay.adapters.store import open_store
from backstay.pipeline.begin import Beginner
store = open_store(sys.argv[1], wiring.clock())
held = Beginner(store, wiring.host(), wiring.clock(), lambda lease, deployment: None).claimed("shop", sys.argv[2])
store.take_lease("shop", sys.argv[2], wiring.host().owner(), "deploy v2", None, replaces=held)
store.close()
"""


@dataclass
class Tally:
    """What one process saw. `beaten`: somebody was faster in the store. `double`: it was not alone with the lease."""

    won: int = 0
    refused: int = 0
    beaten: int = 0
    busy: int = 0
    double: int = 0


def measure(world: World) -> Result:
    """Counts over all processes, and seconds from an owner's death until a new process has its lease."""
    with tempfile.TemporaryDirectory(prefix="bs-lease-") as name:
        folder = Path(name)
        open_store(folder / "state.db", SystemClock()).close()
        tallies, took_s = contend(folder)
        tokens = _token(folder / "state.db")
        deaths = [take_over_s(folder / "state.db", f"e{number}") for number in range(DEATHS)]
    won, refused, beaten, busy, double = (
        sum(getattr(tally, field) for tally in tallies)
        for field in ("won", "refused", "beaten", "busy", "double")
    )
    shares = sorted(tally.won for tally in tallies)
    figures = [
        Figure("processes that want one lease", len(tallies), at_least=PROCESSES),
        Figure("moments with two holders", double, at_most=0),
        Figure("tokens given out, less leases won", tokens - won, at_most=0, at_least=0),
        Figure("leases won and given back", won / took_s, "per s", spread=f"{won:,} in {took_s:.1f} s"),
        Figure("refused at a look", refused / took_s, "per s", spread=f"{refused:,} in {took_s:.1f} s"),
        Figure("refused by the store, as somebody was faster", beaten),
        Figure("gave up on a busy store", busy, spread="after 10 s of waiting for their turn"),
        Figure("leases of the luckiest process", shares[-1], spread=f"the unluckiest won {shares[0]}"),
        middle("from an owner's death to its lease in other hands", deaths, at_most=TAKE_OVER_BAR_S),
    ]
    notes = [
        f"each works {HELD_S * 1000:g} ms under its lease; who is refused tries again after {AGAIN_S * 1000:g} ms",
        "the take-over contains the start of the process that takes over",
    ]
    return Result(f"lease: {PROCESSES} processes, one lease", figures, notes)


def contend(folder: Path) -> tuple[list[Tally], float]:
    """Let the processes go for RUN_S; what each saw, and the seconds it took."""
    context = multiprocessing.get_context(
        "fork"
    )  # no database is open here, and importing 64 times takes a minute
    barrier, answers = context.Barrier(PROCESSES + 1), context.Queue()
    runners = [
        context.Process(target=_run, args=(folder, number, barrier, answers)) for number in range(PROCESSES)
    ]
    for runner in runners:
        runner.start()
    try:
        barrier.wait(timeout=PATIENCE_S)
        began = time.monotonic()
        tallies = [answers.get(timeout=PATIENCE_S) for _ in runners]
        return tallies, time.monotonic() - began
    finally:
        for runner in runners:
            runner.join(timeout=PATIENCE_S)
            if runner.is_alive():
                runner.kill()


def _run(folder: Path, number: int, barrier: Barrier, answers: multiprocessing.Queue[Tally]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    store, owner, tally = open_store(folder / "state.db", SystemClock()), LinuxHost().owner(), Tally()
    barrier.wait(timeout=PATIENCE_S)
    end = time.monotonic() + RUN_S
    while time.monotonic() < end:
        if store.lease(APP, ENV) is not None:  # as every command does: who sees a lease does not even try
            tally.refused += 1
            time.sleep(AGAIN_S)
            continue
        try:
            lease = store.take_lease(APP, ENV, owner, f"work {number}", None)
        except Locked:
            tally.beaten += 1
            continue
        except StoreError:
            tally.busy += 1
            continue
        tally.won += 1
        with alone(folder / "holder", tally):
            time.sleep(HELD_S)
            try:
                store.heartbeat(lease)
            except LeaseLost:
                tally.double += 1
        store.release_lease(lease)
    store.close()
    answers.put(tally)


@contextlib.contextmanager
def alone(place: Path, tally: Tally) -> Iterator[None]:
    """A file that only one can make at a time: the kernel's own word on whether we are the only holder."""
    try:
        os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        tally.double += 1
        yield
        return
    try:
        yield
    finally:
        place.unlink()


def take_over_s(store: Path, environment: str) -> float:
    """Seconds from the SIGKILL of a process that holds the lease until another process, started then, has it."""
    argv = [sys.executable, "-c", OWNER, str(store), environment]
    claim = [sys.executable, "-c", CLAIM, str(store), environment]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        owner.kill()
        began = time.monotonic()
        subprocess.run(claim, env=as_installed(os.environ), check=True, timeout=60)
        took_s = time.monotonic() - began
        assert start_time(owner.pid) is None
    return took_s


def _token(store: Path) -> int:
    with contextlib.closing(sqlite3.connect(store)) as database:
        [token] = database.execute("SELECT token FROM leases WHERE environment = ?", [ENV]).fetchone()
    return int(token)
