"""Kill -9 at random instants, on real parts, under load: whatever is killed, one version serves and nobody notices."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from operator import add

import pytest

from tests.crash.kills import Lane, Tally
from tests.page import Page, build
from tests.world import World

pytestmark = pytest.mark.world

SEED = os.environ.get("BACKSTAY_SEED") or str(random.SystemRandom().randrange(10**6))
"""Printed with every failure; BACKSTAY_SEED=… asks for the same instants again."""

LANES = 2


@pytest.mark.parametrize("kills", [10, pytest.param(200, marks=pytest.mark.long)])
@pytest.mark.timeout(3600)
def test_whenever_the_worker_is_killed_one_version_serves_and_the_next_deploy_works(
    world: World, kills: int
) -> None:
    print(f"BACKSTAY_SEED={SEED}")
    build(world)
    with ThreadPoolExecutor(LANES) as pool:
        lanes = [pool.submit(lane, world, number, kills // LANES) for number in range(LANES)]
        tally = reduce(add, (each.result() for each in lanes))
    print(tally.told())
    assert len(tally.kills) >= kills
    assert tally.failed == 0


def lane(world: World, number: int, kills: int) -> Tally:
    """One environment of its own, and its share of the kills."""
    with Page(world, f"kills{os.getpid()}x{number}") as page:
        assert page.deploy("v1").status == 0
        assert page.deploy("v2").status == 0
        return Lane(page, f"{SEED}-{number}").run(kills)
