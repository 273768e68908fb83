"""How long twenty smoke tests take of which one takes two seconds: all at once, beside one after another."""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import median

from backstay.adapters.clock import SystemClock
from backstay.adapters.http import HttpProber
from backstay.domain.smoke import Expectation, SmokeTest
from backstay.pipeline.address import ask_address, parse_address
from backstay.pipeline.smoke import Patience, configured, smoke
from devtools.bench.environment import BenchError
from devtools.bench.figure import Beside, Figure, Result
from tests.http.site import Reply, Site, of_json
from tests.world import World

TESTS = 20
SLOW_S = 2.0
QUICK_S = 0.05
RUNS = 3


def measure(world: World) -> Result:
    """Wall seconds. Raises BenchError when a test does not pass: then nothing was measured."""
    with Site(_answer) as site:
        at_once = [_wall(site, Patience(0.0).at_once) for _ in range(RUNS)]
        in_turn = _wall(site, 1)
    took = median(at_once)
    spread = " ".join(f"{each:.2f}" for each in at_once)
    figures = [
        Figure(
            f"{TESTS} tests, one of {SLOW_S:g} s and the others of {QUICK_S:g} s", took, "s", at_most=2.5,
            beside=Beside("one after another", in_turn), spread=spread,
        )
    ]  # fmt: skip
    return Result("smoke: all tests at once", figures)


def _answer(method: str, path: str, headers: Mapping[str, str]) -> Reply:
    return of_json(b'{"database": "connected"}', wait_s=SLOW_S if path == "/0" else QUICK_S)


def _wall(site: Site, at_once: int) -> float:
    prober = HttpProber()
    expect = Expectation(status=200, json={"$.database": "connected"})
    tests = [SmokeTest(f"test {n}", f"/{n}", expect=expect) for n in range(TESTS)]
    began = time.perf_counter()
    results = smoke(
        [configured(test, prober) for test in tests], ask_address(prober, parse_address(site.url)),
        Patience(30.0, at_once=at_once), SystemClock(), time.sleep,
    )  # fmt: skip
    if bad := [r.detail for r in results if not r.ok]:
        raise BenchError(f"a test failed: {bad[0]}")
    return time.perf_counter() - began
