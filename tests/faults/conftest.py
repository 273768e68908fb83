"""Environments that survive one fault after another. Each fault leaves its environment whole, or it is made anew."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPException
from itertools import count

import pytest

from backstay.errors import BackstayError
from tests.crash.aftermath import assert_whole
from tests.faults.matrix import HEAD, ROWS, RULE
from tests.page import VERSIONS, Page, build
from tests.world import World
from tests.world.errors import WorldError
from tests.world.private import private_world

_numbers = count(1)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what was measured."""
    if ROWS:
        terminalreporter.section("fault matrix")
        terminalreporter.write_line("\n".join([HEAD, RULE, *(row.markdown() for row in ROWS)]))
        ROWS.clear()


class Standing:
    """One environment with a live and a warm release, handed from story to story as long as it is whole."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._stack = ExitStack()
        self._page: Page | None = None

    def page(self) -> Page:
        """As it stands when it is whole; else a new one."""
        if self._page is None or not self._is_whole(self._page):
            self.close()
            page = Page(self._world, f"page{os.getpid()}x{next(_numbers)}")
            self._page = self._stack.enter_context(page)
            for version in ("v1", "v2"):
                assert page.deploy(version).status == 0
        self._page.extra = {}
        self._page.configure(**self._page.usual)
        return self._page

    def close(self) -> None:
        """Remove it."""
        self._page = None
        self._stack.close()

    def _is_whole(self, page: Page) -> bool:
        try:
            assert_whole(page)
        except (AssertionError, OSError, HTTPException, BackstayError, WorldError):
            return False
        return True


@pytest.fixture(scope="session")
def page_images(world: World) -> World:
    """The world, with every version of the page built and pushed."""
    build(world, tuple(VERSIONS))
    return world


@pytest.fixture(scope="session")
def _standing(page_images: World) -> Iterator[Standing]:
    made = Standing(page_images)
    yield made
    made.close()


@pytest.fixture
def page(_standing: Standing) -> Page:
    """A page on the shared engine; of v1 and v2 one serves and the other is warm."""
    return _standing.page()


@pytest.fixture(scope="session")
def own_world(page_images: World) -> Iterator[World]:
    """An engine and a PostgreSQL of our own, to be maltreated."""
    with private_world(page_images, database=True) as made:
        yield made


@pytest.fixture(scope="session")
def _standing_apart(own_world: World) -> Iterator[Standing]:
    made = Standing(own_world)
    yield made
    made.close()


@pytest.fixture
def far_page(_standing_apart: Standing) -> Page:
    """The same on the engine of our own."""
    return _standing_apart.page()
