"""A store in a fresh, short-named folder for each story."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backstay.adapters.store import SqlStore
from tests.store.samples import StillClock, store_at


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bs-") as name:
        yield Path(name)


@pytest.fixture
def path(folder: Path) -> Path:
    return folder / "state.db"


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def store(path: Path, clock: StillClock) -> Iterator[SqlStore]:
    opened = store_at(path, clock)
    yield opened
    opened.close()
