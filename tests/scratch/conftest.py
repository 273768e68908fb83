"""Scratch servers of every kind, and a physical backup to start one on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from backstay.adapters.docker import DockerEngine
from backstay.adapters.scratch import OpenScratches
from backstay.domain.secret import Secret
from backstay.ports.scratch import ScratchOrder
from tests.scratch.image import postgres_image
from tests.world import World
from tests.world.commands import run

_numbers = count(1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


@pytest.fixture
def opener(world: World, root: Path) -> Callable[[], OpenScratches]:
    """Makes one as each process of ours does; the secret SCRATCH leads to the world's server."""
    given = world.postgres
    url = Secret(f"postgresql://{given.superuser}:{given.password}@{given.host}:{given.port}/postgres")
    return lambda: OpenScratches(root, DockerEngine(world.docker_host), {"SCRATCH": url}.get)


@pytest.fixture
def scratches(opener: Callable[[], OpenScratches], root: Path) -> Iterator[OpenScratches]:
    """Nothing of a test is left, whatever became of it."""
    made = opener()
    yield made
    assert made.sweep("shop", "dev") == [], "a server was not closed"
    assert not root.exists() or list(root.iterdir()) == []


@pytest.fixture
def order(world: World) -> ScratchOrder:
    major = int(Path(world.postgres.bin_dir).parent.name)
    return ScratchOrder("shop", "dev", f"shop-dev-{os.getpid()}-{next(_numbers)}", major)


@pytest.fixture(params=["auto", "container", "url:SCRATCH"])
def any_order(request: pytest.FixtureRequest, order: ScratchOrder, world: World) -> ScratchOrder:
    """An order for each kind of server in turn."""
    where: str = request.param
    return replace(order, where=f"container:{postgres_image(world)}" if where == "container" else where)


@pytest.fixture
def copied(world: World) -> Iterator[Callable[[Path], str]]:
    """Copies the world's whole cluster, with a database of ten rows, into a folder; returns that database's name."""
    made = world.create_database(f"phys{os.getpid()}")
    world.query("CREATE TABLE t AS SELECT generate_series(1, 10) AS n", made["name"])
    given = world.postgres

    def copy(data: Path) -> str:
        words = ["-D", str(data), "-w", "-h", given.host, "-p", str(given.port), "-U", given.superuser]
        tool = Path(given.bin_dir) / "pg_basebackup"
        run([tool, *words, "-X", "stream", "-c", "fast"], env={"PGPASSWORD": given.password})
        return made["name"]

    yield copy
    world.drop_database(made["name"])
