"""A release is tried on a real copy of a real database, and what is caught there never touches production."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.shop import Shop
from tests.world import World

pytestmark = pytest.mark.world


@pytest.fixture(scope="module")
def live(shop_images: World) -> Iterator[Shop]:
    """v2 serves, with two orders that are alike. Nothing here may change that."""
    import os

    with Shop(shop_images, f"reh{os.getpid()}", bake="1s") as made:
        for version in ("v1", "v2"):
            assert made.deploy(version).status == 0
        for _ in range(2):
            order(made)
        made.configure(rehearsal="always")
        yield made


def order(shop: Shop) -> None:
    body = json.dumps({"product": 1, "quantity": 1}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{shop.port}/api/v1/orders/", body)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        assert answer.status == 201


def rehearsed(shop: Shop, version: str, *words: str) -> tuple[int, dict[str, Any]]:
    answer = shop.run("rehearse", "dev", "--version", version, "--json", *words)
    return answer.status, answer.last


def nothing_left(shop: Shop) -> None:
    labels = f"label=backstay.app={shop.name}"
    role = "label=backstay.role=rehearsal"
    assert shop.world.docker("ps", "-aq", "--filter", labels, "--filter", role).split() == []
    assert shop.world.docker("network", "ls", "-q", "--filter", labels, "--filter", role).split() == []
    scratch = shop.folder / "h" / "scratch"
    assert not scratch.exists() or list(scratch.iterdir()) == []


def test_an_additive_migration_is_compatible(live: Shop) -> None:
    status, found = rehearsed(live, "v3x")
    assert status == 2, found  # no such image
