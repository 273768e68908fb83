"""Scratch servers of this host, and a physical backup to start one on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from backstay.adapters.scratch import OpenScratches
from backstay.ports.scratch import ScratchOrder
from backstay.testing.engine import FakeEngine
from tests.world import World

MAJOR = 15


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


@pytest.fixture
def scratches(root: Path) -> Iterator[OpenScratches]:
    """Nothing of a test is left in the folder, whatever became of it."""
    yield OpenScratches(root, FakeEngine())
    OpenScratches(root, FakeEngine()).sweep("shop", "dev")
    assert not root.exists() or list(root.iterdir()) == []


@pytest.fixture
def order(world: World) -> ScratchOrder:
    major = int(Path(world.postgres.bin_dir).parent.name)
    return ScratchOrder("shop", "dev", f"shop-dev-{os.getpid()}", major)
