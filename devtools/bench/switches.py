"""The promise: not one failed request over many switches of every kind, under all five kinds of traffic."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from devtools.bench.environment import BenchError, BenchShop, patient
from devtools.bench.figure import Beside, Figure, Result
from devtools.bench.plain import replace_under_load
from tests.load import Load, Report
from tests.world import World

REQUESTS = 30_000
SWITCHES = 30
PLAIN_TIMES = 4
LIMIT_S = 900.0
SETTLED_S = 3.0

WARM = (("rollback", "dev", "--to", "v1"), ("rollback", "dev", "--to", "v2"))
ROUND: Sequence[Sequence[str]] = (
    *WARM * 5,
    ("rollback", "dev", "--to", "v1"),
    ("deploy", "dev", "--version", "v2", "--component", "backend"),
    ("rollback", "dev", "backend"),
    ("deploy", "dev", "--version", "v2", "--component", "frontend"),
    ("rollback", "dev", "frontend"),
    ("deploy", "dev", "--version", "v2"),
)
"""Begins and ends with v2 in both components: warm flips, one component forth and back, a whole deploy."""


def measure(world: World) -> Result:
    """Failed requests of at least 30 switches by command, beside plain replacements. Raises BenchError."""
    with patient(world, "benchswitches") as shop:
        for version in ("v1", "v2"):
            shop.must_deploy(version)
        with shop.load() as load:
            began = time.monotonic()
            flips = switch_until_enough(shop, load)
            time.sleep(SETTLED_S)
            report = load.stop()
            took = time.monotonic() - began
    plain = replace_under_load(world, PLAIN_TIMES, SETTLED_S)
    switches = sum(flips.values())
    per_plain = plain.failed / PLAIN_TIMES
    figures = [
        Figure("failed requests", report.failed, at_most=0, beside=Beside("stop/run", plain.failed)),
        Figure("failed per switch", report.failed / switches, beside=Beside("stop/run", per_plain)),
        Figure("wrong answers by a release", sum(report.bad_answers.values()), at_most=0),
        Figure("requests", report.requests, at_least=REQUESTS, beside=Beside("stop/run", plain.requests)),
        Figure("switches", switches, at_least=SWITCHES, beside=Beside("stop/run", PLAIN_TIMES)),
        *kinds(report, plain),
    ]
    notes = [
        "switches by command: " + ", ".join(f"{kind} {count}" for kind, count in sorted(flips.items())),
        f"{report.requests / took:.0f} requests per second over {took:.0f} s; {report.reconnects} reconnects",
        "answers by release: " + ", ".join(f"{name} {count}" for name, count in report.by_release.items()),
        f"stop/run: {_listed(plain)}; at the longest {plain_gap_s(plain):.1f} s without a whole answer",
    ]
    if report.failed:
        notes.extend(report.table().splitlines())
    return Result("switches: nobody notices", figures, notes)


def switch_until_enough(shop: BenchShop, load: Load) -> Counter[str]:
    """Go round until both counts are reached; switches of traffic by kind of command."""
    flips: Counter[str] = Counter()
    end = time.monotonic() + LIMIT_S
    while sum(flips.values()) < SWITCHES or load.so_far().requests < REQUESTS:
        for words in ROUND:
            if time.monotonic() > end:
                raise BenchError(
                    f"not enough within {LIMIT_S:.0f} s: {dict(flips)}, {load.so_far().requests} requests"
                )
            answer = shop.must(*words, "--json")
            flips[kind_of(words)] += sum(e.get("kind") == "traffic_switched" for e in answer.lines[:-1])
    return flips


def kind_of(words: Sequence[str]) -> str:
    """A command without its values: `warm rollback`, `rollback of a component`, …"""
    if words[0] == "rollback":
        return "warm rollback" if "--to" in words else f"rollback of the {words[-1]}"
    return f"deploy of the {words[-1]}" if "--component" in words else "whole deploy"


def kinds(report: Report, plain: Report) -> list[Figure]:
    """Requests that failed, by kind of traffic."""
    return [
        Figure(
            f"  {kind}: failed",
            counts.failed,
            beside=Beside("stop/run", plain.by_kind[kind].failed),
            spread=f"of {counts.requests:,}; p99 {counts.p99_s * 1000:.0f} ms, longest {counts.max_s * 1000:.0f} ms",
        )
        for kind, counts in report.by_kind.items()
    ]


def plain_gap_s(report: Report) -> float:
    """The longest time between two whole answers, in seconds."""
    ends = sorted(record.ended for record in report.records if not record.failed)
    return max((after - before for before, after in pairwise(ends)), default=0.0)


def _listed(report: Report) -> str:
    outcomes = Counter(record.outcome for record in report.failures)
    return ", ".join(f"{name} {count}" for name, count in sorted(outcomes.items())) or "none failed"
