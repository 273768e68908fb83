"""How fast `recover` is: after the kill of a worker in the bake until the old release answers again, and its parts."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass, field

from backstay.pipeline.times import parse_rfc3339
from devtools.bench.environment import BenchError, BenchShop, patient
from devtools.bench.figure import Result, middle
from devtools.bench.rollback import PROBES, first_answer
from tests.load import Load
from tests.world import World

RUNS = 5
COMMAND_BAR_S = 1.0
TAKE_OVER_BAR_S = 2.0
NOTHING_RUNS = 3


@dataclass
class Seen:
    """Seconds of each recovery: from the command to an old answer, and its parts."""

    answered: list[float] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)
    flipped: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)


def measure(world: World) -> Result:
    """Seconds after the death of a worker that holds the lease on this host. Raises BenchError."""
    found = Seen()
    with patient(world, "benchrecovery") as shop:
        shop.must_deploy("v1")
        shop.configure(bake="10m")
        with shop.load(**PROBES) as load:
            for _ in range(RUNS):
                once(shop, load, found)
            report = load.stop()
        for _ in range(NOTHING_RUNS):
            began = load.now()
            shop.must("recover", "dev")
            found.idle.append(load.now() - began)
    if report.failed:
        raise BenchError(f"{report.failed} requests failed meanwhile:\n{report.table()}")
    figures = [
        middle("kill -9 in the bake: command to first old answer", found.answered, at_most=COMMAND_BAR_S),
        middle("  of which: the command takes the lease over", found.taken, at_most=TAKE_OVER_BAR_S),
        middle("  of which: decision and flip", found.flipped, at_most=COMMAND_BAR_S),
        middle("all of it, containers removed, in order", found.whole),
        middle("nothing to recover", found.idle),
    ]
    return Result(
        "recovery: the old release is back", figures, [f"{report.requests} requests meanwhile, 0 failed"]
    )


def once(shop: BenchShop, load: Load, found: Seen) -> None:
    """Deploy, kill the worker while it bakes, recover."""
    shop.must_deploy("v2", "--wait", "switched")
    first_answer(load, "v2", load.now())
    worker = shop.worker()
    if worker is None:
        raise BenchError("no worker is at work in the bake")
    os.kill(worker, signal.SIGKILL)
    began = load.now()
    answer = shop.run("recover", "dev", "--json")
    found.whole.append(load.now() - began)
    if answer.status != 20:
        raise BenchError(f"recover ended with {answer.status}: {answer.out} {answer.err}")
    found.answered.append(first_answer(load, "v1", began) - began)
    told = [
        json.loads(line)
        for line in shop.run("events", shop.history()[0]["deployment"], "--json").out.splitlines()
    ]
    at = {event["kind"]: parse_rfc3339(event["at"]).timestamp() for event in told}
    found.taken.append(at["recovery_started"] - began)
    found.flipped.append(at["traffic_switched"] - at["recovery_started"])
