"""What a deploy costs beyond the work nobody can spare: pull, backup, migration, container boot, bake."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

from backstay.pipeline.times import parse_rfc3339
from devtools.bench.environment import patient, steps_of
from devtools.bench.figure import Beside, Figure, Result, middle
from tests.world import World

RUNS = 5
BAR_S = 1.5
NOT_OURS = ("pull", "backup", "migrate", "start", "health", "bake")


def measure(world: World) -> Result:
    """Seconds of deploys into an environment where one release serves already. Raises BenchError."""
    started, overheads, totals, outside = [], [], [], []
    steps: dict[str, list[float]] = {}
    with patient(world, "benchoverhead") as shop:
        shop.must_deploy("v1")
        for number in range(RUNS):
            asked, began = time.time(), time.perf_counter()
            document = shop.must_deploy(("v2", "v1")[number % 2]).last
            wall = time.perf_counter() - began
            started.append(parse_rfc3339(document["created_at"]).timestamp() - asked)
            overheads.append(overhead_of(document) + started[-1])
            totals.append(document["total_s"])
            outside.append(wall - document["total_s"] - started[-1])
            for name, took in steps_of(document).items():
                steps.setdefault(name, []).append(took)
    figures = [
        middle("overhead", overheads, at_most=BAR_S, beside=Beside("whole deploy", median(totals))),
        middle("  of which: the command starts and plans", started),
        *(middle(f"  of which: {name}", took) for name, took in steps.items() if name not in NOT_OURS),
        Figure("  of which: between the steps", between_s(steps, totals), "s"),
        middle("after the end: the command notices and leaves", outside),
        *(middle(f"not counted: {name}", took) for name, took in steps.items() if name in NOT_OURS),
    ]
    return Result("overhead: a deploy without its unavoidable work", figures)


def overhead_of(document: dict[str, Any]) -> float:
    """Seconds of a deployment from its record to its end, without the steps that do unavoidable work."""
    steps = steps_of(document)
    return float(document["total_s"]) - sum(steps.get(name, 0.0) for name in NOT_OURS)


def between_s(steps: dict[str, list[float]], totals: list[float]) -> float:
    """Median seconds of a deployment that belong to no step: the worker's start and the journal."""
    runs = range(len(totals))
    return median(totals[run] - sum(took[run] for took in steps.values()) for run in runs)
