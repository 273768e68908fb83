"""Fixtures of the whole suite. Without a test world the real tests are skipped, except where that is forbidden."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from itertools import count

import hypothesis
import pytest

from tests.shop import Shop
from tests.world import World, images
from tests.world.errors import WorldError

_numbers = count(1)

ORDER = ("domain", "config", "docs", "demo", "cli", "store", "pipeline", "check", "host", "http", "linter",
         "notify", "load", "postgres", "scratch", "engine", "router", "real", "faults", "crash", "world")  # fmt: skip
"""Folders as they are run: pure and fast ones first, then one port after another, then everything together. Where
several processes share the work it is the other way round, so that none begins the longest story last."""


def pytest_configure(config: pytest.Config) -> None:
    """In the background a shell has Ctrl-C ignored, also by everything that we start; and Ctrl-C is a story here."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # How long an example takes says more of the machine than of us.
    slow = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile("any machine", deadline=None, suppress_health_check=slow)
    hypothesis.settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the long variants too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    tests = config.rootpath / "tests"
    order = ORDER[::-1] if "PYTEST_XDIST_WORKER" in os.environ else ORDER
    places = {name: number for number, name in enumerate(order)}
    items.sort(key=lambda item: places.get(item.path.relative_to(tests).parts[0], len(order)))
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="only with --long"))


@pytest.fixture(scope="session")
def world() -> World:
    """The running test world; its absence fails where BACKSTAY_REQUIRE_WORLD is set and skips elsewhere."""
    try:
        return World.current()
    except WorldError as error:
        if os.environ.get("BACKSTAY_REQUIRE_WORLD"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def shop_images(world: World) -> World:
    """The world, with every version of the shop built and pushed."""
    images.shop(world)
    return world


@pytest.fixture
def shop(shop_images: World) -> Iterator[Shop]:
    """A shop of its own for one story; nothing is deployed yet."""
    with Shop(shop_images, f"shop{os.getpid()}x{next(_numbers)}") as made:
        yield made
