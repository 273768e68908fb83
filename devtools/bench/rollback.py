"""How fast the old release is back: by command, during a bake, and beside it Swarm's rollback of one service."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from backstay.pipeline.times import parse_rfc3339
from devtools.bench.environment import BenchError, BenchShop, patient
from devtools.bench.figure import Beside, Result, middle
from devtools.bench.swarm import Swarm
from tests.load import Load
from tests.world import World

WARM_RUNS = 5
BAKE_RUNS = 3
SWARM_RUNS = 3
COMMAND_BAR_S = 1.0
DECISION_BAR_S = 0.1
PROBES = {"keep_alive": 2, "fresh": 1, "posts": 1, "slow": 0, "websockets": 0, "pacing_s": 0.02}
"""Few clients: here the load is the stopwatch, and must not take the processor from what it measures. No 5 s
request and no websocket: one that began before the flip is rightly answered by its own release after it."""


@dataclass
class Warm:
    """Seconds of warm rollbacks: the whole command, until a user sees the old release, and the parts of that."""

    whole: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    planned: list[float] = field(default_factory=list)
    started: list[float] = field(default_factory=list)
    prepared: list[float] = field(default_factory=list)
    switched: list[float] = field(default_factory=list)


def measure(world: World) -> Result:
    """Seconds until the router sends traffic to the old release, and until a user sees it. Raises BenchError."""
    with patient(world, "benchrollback") as shop:
        for version in ("v1", "v2"):
            shop.must_deploy(version)
        with shop.load(**PROBES) as load:
            flip = warm(shop, load)
            flips, answers = baking(shop, load)
            report = load.stop()
    if report.failed:
        raise BenchError(f"{report.failed} requests failed meanwhile:\n{report.table()}")
    with Swarm(world) as swarm:
        swarm_walls = [swarm.rollback_s() for _ in range(SWARM_RUNS)]
    swarms = Beside("service rollback", median(swarm_walls))
    figures = [
        middle("warm: command to first old answer", flip.seen, at_most=COMMAND_BAR_S, beside=swarms),
        middle("  of which: the command starts and plans", flip.planned),
        middle("  of which: the worker starts", flip.started),
        middle("  of which: it asks for health and the router", flip.prepared),
        middle("  of which: it switches", flip.switched, at_most=DECISION_BAR_S),
        middle("warm: command, verified and ended", flip.whole, beside=swarms),
        middle("in a bake: decision to traffic", flips, at_most=DECISION_BAR_S),
        middle("in a bake: decision to first old answer", answers),
        middle("docker service rollback, 1 replica", swarm_walls),
    ]
    notes = [f"{report.requests} requests meanwhile, {report.failed} failed"]
    return Result("rollback: how fast the old release is back", figures, notes)


def warm(shop: BenchShop, load: Load) -> Warm:
    """To and fro between two warm slots, by command."""
    found = Warm()
    for number in range(WARM_RUNS):
        target = ("v1", "v2")[number % 2]
        began = load.now()
        answer = shop.must("rollback", "dev", "--to", target, "--json")
        found.whole.append(load.now() - began)
        found.seen.append(first_answer(load, target, began) - began)
        at = {(e["kind"], e["step"]): moment(e) for e in reversed(answer.lines[:-1])}
        created, flipped = at["deployment_created", None], at["traffic_switched", "switch"]
        working = min(when for (kind, _), when in at.items() if kind == "step_started")
        found.planned.append(created - began)
        found.started.append(working - created)
        found.prepared.append(at["step_started", "switch"] - working)
        found.switched.append(flipped - at["step_started", "switch"])
    return found


def baking(shop: BenchShop, load: Load) -> tuple[list[float], list[float]]:
    """Deploys taken back by hand while they bake: seconds from the worker's decision to flip and to answer."""
    flips, answers = [], []
    shop.configure(bake="10m")
    for number in range(BAKE_RUNS):
        old = shop.status()["live"]["release"]
        new = "v1" if old == "v2" else "v2"
        shop.must_deploy(new, "--wait", "switched")
        first_answer(load, new, load.now())
        answer = shop.must("rollback", "dev", "--json")
        flips.append(answer.last["rollback_s"])
        decision = next(moment(e) for e in answer.lines[:-1] if e["kind"] == "reversal_started")
        answers.append(first_answer(load, old, decision) - decision)
        if number + 1 < BAKE_RUNS:
            time.sleep(0.5)
    return flips, answers


def first_answer(load: Load, version: str, after: float) -> float:
    """When the release first answered after the moment; LoadError when it never does."""
    load.until(lambda report: report.first_answer(version, after) is not None)
    found = load.so_far().first_answer(version, after)
    if found is None:
        raise BenchError(f"{version} never answered")
    return found


def moment(event: dict[str, Any]) -> float:
    """Wall clock seconds of an event, to the millisecond."""
    return parse_rfc3339(event["at"]).timestamp()
