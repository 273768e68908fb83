"""What telling costs a deploy: with nobody to tell, with receivers that answer, and with receivers that are dead."""

from __future__ import annotations

import time
from statistics import median

from devtools.bench.environment import BenchShop, patient
from devtools.bench.figure import Beside, Figure, Result, middle
from tests.notify.receiver import HANG, black_hole, receiving
from tests.world import World

TURNS = 4
BAR = 1.1
"""Dead receivers beside living ones, median of the turns: a design that waits for a dead one loses 10 s and more."""


def measure(world: World) -> Result:
    """Wall seconds of whole deploy commands, in turns. Raises BenchError."""
    walls: dict[str, list[float]] = {"none": [], "live": [], "dead": []}
    with (
        patient(world, "benchnotify") as shop,
        receiving() as one,
        receiving() as other,
        receiving(HANG) as hung,
        black_hole() as hole,
    ):
        shop.must_deploy("v1")
        arms = {"none": (), "live": (one.url, other.url), "dead": (hung.url, hole)}
        for _ in range(TURNS):
            for name, urls in arms.items():
                walls[name].append(deploy_s(shop, urls))
    ratios = [dead / live for dead, live in zip(walls["dead"], walls["live"], strict=True)]
    figures = [
        middle("deploy, nobody to tell", walls["none"]),
        middle(
            "deploy, two receivers that answer", walls["live"], beside=Beside("nobody", median(walls["none"]))
        ),
        middle(
            "deploy, one hung and one black hole", walls["dead"], beside=Beside("live", median(walls["live"]))
        ),
        Figure("dead, times live, by turns", median(ratios), at_most=BAR),
    ]
    return Result("notify: what telling costs a deploy", figures)


def deploy_s(shop: BenchShop, urls: tuple[str, ...]) -> float:
    """Seconds of one deploy with these receivers; the worker before it may still be trying to tell."""
    shop.configure(notify=urls)
    began = time.perf_counter()
    shop.must_deploy("v1")
    return time.perf_counter() - began
