"""PostgreSQL dies, and has no connection left, in the middle of a deploy. It is one of our own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from tests.crash.aftermath import assert_whole
from tests.faults.matrix import seen
from tests.faults.scene import deploying, ended, pair, reach, told
from tests.page import Page
from tests.shop import Shop
from tests.world import World, postgres, processes

pytestmark = pytest.mark.world


def kill_postgres(world: World) -> None:
    """Postmaster, which makes no more children then, and all its children."""
    processes.end({world.state.processes["postgres"]}, first=signal.SIGKILL)
    processes.end(postgres.remaining(world.layout), first=signal.SIGKILL)


def start_postgres(world: World) -> None:
    mark = postgres.start_again(world.layout, world.state)
    world.state.processes["postgres"] = mark
    postgres.await_ready(world.layout, world.state, mark)


@contextmanager
def locked(page: Page) -> Iterator[None]:
    """A table that somebody holds locked, so that a dump has to wait for it."""
    with subprocess.Popen(
        ["psql", "-q", page.urls["host"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    ) as session:  # fmt: skip
        assert session.stdin is not None and session.stdout is not None
        session.stdin.write(
            "create table if not exists held (id int); begin; lock table held; select 'locked';\n"
        )
        session.stdin.flush()
        while "locked" not in session.stdout.readline():
            pass
        yield
        session.kill()


def test_postgresql_killed_in_the_backup_stops_the_deploy_before_its_migration(far_page: Page) -> None:
    page = far_page
    _, other = pair(page)
    with page.load() as load, locked(page):
        load.until(lambda so_far: so_far.requests > 20)
        with deploying(page, other) as deploy:
            reach(page, "backup")
            time.sleep(0.3)
            began = time.monotonic()
            kill_postgres(page.world)
            deploy.wait(60)
            took = time.monotonic() - began
        start_postgres(page.world)
        end = page.history()[0]
        again = page.deploy(other, "--force")
        report = load.stop()
    seen(
        "kill -9 of PostgreSQL in the backup",
        report,
        whole_s=took,
        status=deploy.returncode,
        said=end["reason"],
    )
    assert (deploy.returncode, end["failed_step"]) == (30, "backup"), end
    assert ended(again) == (0, "succeeded"), told(again)
    assert report.failed == 0, report.table()
    assert assert_whole(page) == other


def test_a_connection_storm_stops_the_deploy_and_says_so(far_page: Page) -> None:
    page = far_page
    _, other = pair(page)
    with page.load() as load, ExitStack() as storm:
        load.until(lambda so_far: so_far.requests > 20)
        with pytest.raises(psycopg.OperationalError, match=r"connection slots|too many clients"):
            while True:
                storm.enter_context(psycopg.connect(page.urls["host"]))
        began = time.monotonic()
        refused = page.deploy(other, "--force")
        took = time.monotonic() - began
        storm.close()
        again = page.deploy(other, "--force")
        report = load.stop()
    seen(
        "PostgreSQL without a free connection",
        report,
        whole_s=took,
        status=refused.status,
        said=told(refused),
    )
    assert (refused.status, refused.last["failed_step"]) == (30, "backup")
    assert "connection" in told(refused) or "clients" in told(refused), told(refused)
    assert ended(again) == (0, "succeeded"), told(again)
    assert report.failed == 0, report.table()
    assert assert_whole(page) == other


@pytest.mark.long
def test_what_visitors_of_the_shop_see_of_a_dead_postgresql(shop_images: World, own_world: World) -> None:
    """It is the shop's fault and not the release's; when it is over nothing needs to be done."""
    with Shop(own_world, f"shopdb{os.getpid()}") as shop:
        assert shop.deploy("v1").status == 0
        with shop.load(slow=0, websockets=0) as load:
            load.until(lambda so_far: so_far.requests > 50)
            began = time.monotonic()
            kill_postgres(own_world)
            time.sleep(1)
            start_postgres(own_world)
            load.until(lambda so_far: _ends_well(so_far.records))
            took = time.monotonic() - began
            report = load.stop()
        seen("kill -9 of PostgreSQL for 1 s, nothing under way (the shop)", report, whole_s=took,
             said="the shop answers 500 itself while its database is away")  # fmt: skip
        assert report.failed == 0, report.table()
        assert set(report.bad_answers) <= {"v1"}
        status = shop.status()
        assert status["drift"] == [] and status["live"]["release"] == "v1"


def _ends_well(records: object) -> bool:
    last = list(records)[-60:]  # type: ignore[call-overload]
    return all(record.outcome == "ok" for record in last)
