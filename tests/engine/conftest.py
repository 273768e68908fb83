"""Engines under test. A new engine adapter joins by another entry in `ENGINES`."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from backstay.adapters.docker import DockerEngine
from backstay.adapters.process import ProcessEngine
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


@pytest.fixture
def process_bench(tmp_path: Path) -> Iterator[Bench]:
    """Its release is an empty folder: the tests' programs come with their command."""
    engine = ProcessEngine(tmp_path / "state")
    prefix = f"contract-{secrets.token_hex(4)}"
    labels = {"backstay.app": "contract", LABEL: prefix}
    (tmp_path / "v1").mkdir()
    release = str(tmp_path / "{version}")
    image = engine.pull(release, "v1", engine.digest(release, "v1", None), None)
    engine.network(prefix, create=True, labels=labels)
    yield Bench(engine, image, prefix, labels, prefix)
    for process in engine.find({LABEL: prefix}):
        engine.remove(process.id)


ENGINES: Final = (pytest.param("docker_bench", marks=pytest.mark.world), "process_bench")


@pytest.fixture(params=ENGINES)
def bench(request: pytest.FixtureRequest) -> Bench:
    """Each engine in turn."""
    made: Bench = request.getfixturevalue(request.param)
    return made
