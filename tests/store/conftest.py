"""A place for a store, a store and a clock of its own for each story, on both databases where both promise the same."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from backstay.adapters.store import SqlStore
from tests.postgres.server import Server
from tests.store.later import migrations_in
from tests.store.samples import StillClock, store_at
from tests.world import World

_numbers = count(1)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bs-") as name:
        yield Path(name)


@pytest.fixture
def path(folder: Path) -> Path:
    return folder / "state.db"


@pytest.fixture(scope="session")
def server(world: World) -> Iterator[Server]:
    """A PostgreSQL of ours that keeps what it confirmed."""
    with Server(world.postgres, connections=60, durable=True) as made:
        yield made


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    """The URL of an empty database."""
    name = f"store{next(_numbers)}"
    yield server.create_database(name).replace("postgresql://", "postgresql+psycopg://")
    server.drop_database(name)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.world)])
def place(request: pytest.FixtureRequest) -> Path | str:
    """Where a store may be made: a path, and the URL of an empty database."""
    made: Path | str = request.getfixturevalue("path" if request.param == "sqlite" else "url")
    return made


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def store(place: Path | str, clock: StillClock) -> Iterator[SqlStore]:
    opened = store_at(place, clock)
    yield opened
    opened.close()


@pytest.fixture
def file_store(path: Path, clock: StillClock) -> Iterator[SqlStore]:
    opened = store_at(path, clock)
    yield opened
    opened.close()


@pytest.fixture
def later(folder: Path) -> Path:
    """The migrations of a later Backstay."""
    return migrations_in(folder)
