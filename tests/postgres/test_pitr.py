"""Back to a moment on a real server: a dropped table, a lost server, and WAL with a hole in it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from backstay.adapters.postgres.connection import environment
from backstay.adapters.postgres.tools import find_tool, run
from backstay.domain.secret import Secret
from backstay.errors import BackupFailed
from tests.postgres.continuous import Protected
from tests.world import World

pytestmark = pytest.mark.world


@pytest.fixture
def protected(world: World) -> Iterator[Protected]:
    with Protected(world) as made:
        yield made


def ask(url: Secret, sql: str) -> str:
    with environment(url) as env:
        return run([find_tool("psql"), "-XAtqw", "-v", "ON_ERROR_STOP=1", "-c", sql], env).strip()


def test_a_dropped_table_comes_back_as_it_was_and_nothing_newer(protected: Protected) -> None:
    primary = protected.primary
    primary.query("CREATE TABLE orders (n int); INSERT INTO orders SELECT generate_series(1, 999)")
    protected.keep_watching()
    protected.base_backup()
    primary.query("INSERT INTO orders VALUES (1000)")
    good = protected.now()
    time.sleep(0.05)
    primary.query("DROP TABLE orders; CREATE TABLE later (n int)")
    protected.has_arrived()

    recovered = protected.recovered(good)
    with recovered.server as server:
        assert ask(server.url(), "SELECT count(*) FROM orders") == "1000"
        assert ask(server.url(), "SELECT to_regclass('later') IS NULL") == "t"
        assert good - timedelta(seconds=5) <= recovered.moment <= good
    assert primary.query("SELECT count(*) FROM later") == "0", "the live server is as it was"

    with protected.recovered().server as server:
        assert (
            ask(server.url(), "SELECT to_regclass('orders') IS NULL AND to_regclass('later') IS NOT NULL")
            == "t"
        )

    for wrong in (good - timedelta(hours=1), good + timedelta(hours=1)):
        with pytest.raises(BackupFailed, match=r"is out of reach: what can be brought back is \S+ to \S+"):
            protected.recovered(wrong)
