"""How long all checks take together beside the slowest of them run alone, on a live shop and on sleepers."""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import median

from backstay.adapters.clock import SystemClock
from backstay.cli.check import subject_of
from backstay.cli.context import project
from backstay.cli.options import Settings
from backstay.pipeline.check import Check, Finding, run_checks
from backstay.pipeline.checks import Subject, checks_of
from devtools.bench.environment import BenchError, patient
from devtools.bench.figure import Beside, Figure, Result, middle
from tests.world import World

RUNS = 7
SLEEPERS = 20
SLOWEST_S = 1.0
BAR = 1.3


def measure(world: World) -> Result:
    """Seconds of the checks of a live shop under the standard set: each one alone, then all of them at once."""
    with patient(world, "benchcheck") as shop:
        path = shop.folder / "backstay.yml"
        path.write_text(path.read_text().replace("policy: {", "policy: {checks: standard, "))
        shop.must_deploy("v1")
        os.environ.update({name: shop.env[name] for name in ("DOCKER_HOST", "BACKSTAY_HOME", "REGISTRY")})
        _timed(path)  # imports what the first one needs
        together, alone = [], []
        for _ in range(RUNS):  # in turns, so that a busy moment meets both alike
            together.append(_timed(path))
            alone.append([_timed(path, name) for name in _ids(path)])
    slowest = [max(each) for each in alone]
    ratios = [total / single for total, single in zip(together, slowest, strict=True)]
    return Result(
        "check: all at once",
        [
            middle("all checks, standard", together, beside=Beside("slowest alone", median(slowest))),
            middle("  one after the other", [sum(each) for each in alone]),
            middle("  all, times the slowest alone", ratios, unit="", at_most=BAR),
            Figure(f"{SLEEPERS} sleepers of up to {SLOWEST_S:g} s, times the slowest", _sleepers() / SLOWEST_S,
                   at_most=BAR),
        ],
    )  # fmt: skip


def _checks(config: Path) -> tuple[Subject, list[Check]]:
    found = project(Settings(config=str(config)), "dev")
    subject = subject_of(found, found.application("dev"), "v2")
    return subject, checks_of(subject)


def _ids(config: Path) -> list[str]:
    return [check.id for check in _checks(config)[1]]


def _timed(config: Path, only: str | None = None) -> float:
    """Seconds for all checks, or for one alone, on a subject nobody has asked yet. BenchError when one fails."""
    subject, checks = _checks(config)
    chosen = [check for check in checks if only in (None, check.id)]
    began = time.perf_counter()
    results = run_checks(chosen, subject.clock, subject.redact)
    took_s = time.perf_counter() - began
    if bad := [result for result in results if not result.ok]:
        raise BenchError(f"a check failed: {bad}")
    return took_s


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
