"""Engines under test. A new engine adapter joins by another entry in `ENGINES`."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Final

import pytest

from backstay.adapters.docker import DockerEngine
from tests.engine.bench import Bench
from tests.world import World

LABEL: Final = "backstay.deployment"


@pytest.fixture
def docker_bench(world: World) -> Iterator[Bench]:
    engine = DockerEngine(world.docker_host)
    prefix = f"contract-{secrets.token_hex(4)}"
    labels = {"backstay.app": "contract", LABEL: prefix}
    engine.network(prefix, create=True, labels=labels)
    yield Bench(engine, world.base_image, prefix, labels, prefix)
    for container in engine.find({LABEL: prefix}):
        engine.remove(container.id)
    for volume in world.docker("volume", "ls", "-q", "--filter", f"label={LABEL}={prefix}").split():
        world.docker("volume", "rm", volume)
    engine.remove_network(prefix, labels)


ENGINES: Final = ("docker_bench",)


@pytest.fixture(params=ENGINES)
def bench(request: pytest.FixtureRequest) -> Bench:
    """Each engine in turn."""
    made: Bench = request.getfixturevalue(request.param)
    return made
