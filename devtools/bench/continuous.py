"""Continuous protection: what is lost when a server dies under writes, and how fast it is back at a moment."""

from __future__ import annotations

import random
import time

from devtools.bench.environment import BenchError
from devtools.bench.figure import Figure, Result, middle
from tests.postgres.continuous import Protected, asked
from tests.postgres.writers import Writers
from tests.world import World

CRASHES = 5
BAR_S = 1.0
REPLAYED_BYTES = 300_000_000
FILL = "INSERT INTO filler SELECT n, repeat(md5(n::text), 8) FROM generate_series(1, 100000) n"


def measure(world: World) -> Result:
    """Crash a server of our own several times, and bring it back from what was received. Raises BenchError."""
    lost_s, commits, back_s, shares = [], [], [], []
    for _ in range(CRASHES):
        crash = _crash(world)
        lost_s.append(crash[0])
        shares.append(crash[1])
        commits.append(crash[2])
        back_s.append(crash[3])
    replay, moment_s = _moment(world)
    return Result(
        f"continuous protection: a server killed under writes, {CRASHES} times",
        [
            middle("seconds of commits lost", lost_s, "s", at_most=BAR_S),
            Figure("the worst", max(lost_s), "s", at_most=BAR_S),
            Figure("commits lost, of all acknowledged", sum(shares) / sum(commits) * 100, "%"),
            middle("commits per second meanwhile", [n / 2.5 for n in commits], ""),
            middle("back, from base and WAL", back_s),
            Figure("back at a moment, with 300 MB of WAL to replay", moment_s, "s"),
            Figure("replayed per second, all included", replay / 1e6 / moment_s, "MB"),
        ],
        ["four sessions commit row by row; the test server does not sync, so they outrun a disk"],
    )


def _crash(world: World) -> tuple[float, int, int, float]:
    """Seconds and number of commits lost, number acknowledged, and seconds until it was back."""
    with Protected(world) as protected:
        protected.primary.query("CREATE TABLE work (n int)")
        protected.keep_watching()
        protected.base_backup()
        writers = Writers(protected.primary.url, 4)
        time.sleep(2 + random.random())
        protected.primary.kill()
        died = time.monotonic()
        writers.end()
        protected.stop_watching()
        began = time.monotonic()
        with protected.recovered().server as server:
            back_s = time.monotonic() - began
            there = {int(line) for line in asked(server.url("postgres"), "SELECT n FROM work").split()}
        lost = [at for at, value in writers.acknowledged if value not in there]
        if not writers.acknowledged:
            raise BenchError("nothing was committed")
        return (died - min(lost) if lost else 0.0), len(lost), len(writers.acknowledged), back_s


def _moment(world: World) -> tuple[int, float]:
    """Bytes of WAL after the base, and seconds until the server was back with all of them replayed."""
    with Protected(world) as protected:
        protected.keep_watching()
        protected.base_backup()
        start = protected.chains()[0].base.stop
        protected.primary.query("CREATE TABLE filler (n int, text text)")
        while (size := _position(protected) - start) < REPLAYED_BYTES:
            protected.primary.query(FILL)
        at = protected.now()
        protected.primary.query("CREATE TABLE later (n int)")
        protected.has_arrived()
        began = time.monotonic()
        with protected.recovered(at).server:
            return size, time.monotonic() - began


def _position(protected: Protected) -> int:
    return protected.ports.server.position(protected.url, "none", 10).lsn
