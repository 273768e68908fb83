"""How long all checks take together beside the slowest single one, on a live shop and on sleepers."""

from __future__ import annotations

import json
import time
from statistics import median

from backstay.adapters.clock import SystemClock
from backstay.pipeline.check import Check, Finding, run_checks
from devtools.bench.environment import BenchError, BenchShop, patient
from devtools.bench.figure import Beside, Figure, Result, middle
from tests.world import World

RUNS = 7
SLEEPERS = 20
SLOWEST_S = 1.0
BAR = 1.3


def measure(world: World) -> Result:
    """Seconds inside `backstay check` as it reports them, with the shop live, under the standard set of checks."""
    with patient(world, "benchcheck") as shop:
        path = shop.folder / "backstay.yml"
        path.write_text(path.read_text().replace("policy: {", "policy: {checks: standard, "))
        shop.must_deploy("v1")
        shop.must("check", "dev", "--version", "v2", "--json")
        runs = [_run(shop) for _ in range(RUNS)]
    ratios = [total / slowest for total, slowest, _ in runs]
    slept_s = _sleepers()
    return Result(
        "check: all at once",
        [
            middle("all checks of backstay check, standard", [total for total, _, _ in runs],
                   beside=Beside("slowest one", median(slowest for _, slowest, _ in runs))),
            middle("  one after the other they would take", [summed for _, _, summed in runs]),
            middle("  all, times the slowest", ratios, unit="", at_most=BAR),
            Figure(f"{SLEEPERS} sleepers of up to {SLOWEST_S:g} s, times the slowest", slept_s / SLOWEST_S,
                   at_most=BAR),
        ],
    )  # fmt: skip


def _run(shop: BenchShop) -> tuple[float, float, float]:
    """Seconds of all, of the slowest, and their sum. BenchError when a check fails."""
    document = json.loads(shop.must("check", "dev", "--version", "v2", "--json").out)
    if not document["ok"]:
        raise BenchError(f"a check failed: {[c for c in document['checks'] if not c['ok']]}")
    singles = [check["took_s"] for check in document["checks"]]
    return document["took_s"], max(singles), sum(singles)


def _sleepers() -> float:
    """Seconds for checks that only sleep, of evenly spread lengths."""

    def look(seconds: float) -> Finding:
        time.sleep(seconds)
        return Finding("slept")

    checks = [
        Check(f"c{n}", lambda n=n: look(SLOWEST_S * n / SLEEPERS))  # type: ignore[misc]
        for n in range(1, SLEEPERS + 1)
    ]
    began = time.perf_counter()
    run_checks(checks, SystemClock(), str)
    return time.perf_counter() - began
