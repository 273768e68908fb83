"""The engine's daemon dies, hangs and fills its disk in the middle of things. It is one of our own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.crash.aftermath import assert_whole
from tests.faults.matrix import ROWS, Row, seen
from tests.faults.scene import (
    deploying,
    ended,
    fill,
    finished,
    frozen,
    kill,
    pair,
    patience,
    reach,
    switched,
    told,
    wait,
)
from tests.page import Page
from tests.page.looks import container, main_process, newest
from tests.world import World
from tests.world.private import private_world, start_dockerd

pytestmark = pytest.mark.world

ROOT = Path(__file__).resolve().parents[2]


def daemon(world: World) -> int:
    return world.state.processes["dockerd"].pid


@contextmanager
def hung(world: World) -> Iterator[None]:
    """The daemon takes connections and says nothing."""
    with frozen(daemon(world)):
        yield


def test_the_daemon_killed_in_the_bake_cuts_the_ports_it_carries_and_no_container(far_page: Page) -> None:
    """Its docker-proxies die with it, also with live-restore: nothing listens on a published port until it is back.

    With `"userland-proxy": false` the kernel carries the ports, and nobody notices; docs/reliability.md.
    """
    page = far_page
    live, other = pair(page)
    page.configure(bake="4s")
    process = main_process(page, container(page, "live"))
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        switched(page, other)
        killed = load.now()
        kill(daemon(page.world))
        start_dockerd(page.world.layout, page.world.state)
        back = load.now()
        end = finished(page)
        report = load.stop()
    seen(
        "kill -9 of dockerd in the bake, started again at once",
        report,
        whole_s=back - killed,
        status=end.exit_status,
        said=f"{end.state}: {told(end)}; no container was restarted",
    )
    assert ended(end) in ((0, "succeeded"), (20, "rolled_back")), told(end)
    settled = back + patience()
    assert [f for f in report.failures if f.ended < killed or f.time > settled] == [], report.table()
    assert assert_whole(page) in (live, other)
    assert process in (main_process(page, container(page, slot)) for slot in ("live", "standby"))


@pytest.mark.long
def test_the_daemon_killed_before_the_switch_costs_the_deploy_and_a_moment(far_page: Page) -> None:
    page = far_page
    _, other = pair(page)
    page.configure(migration_s="3")
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        with deploying(page, other):
            reach(page, "migrate")
            killed = load.now()
            kill(daemon(page.world))
            start_dockerd(page.world.layout, page.world.state)
            back = load.now()
        end = newest(page)
        page.configure(**page.usual)
        again = page.deploy(other, "--force")
        report = load.stop()
    seen("kill -9 of dockerd in a migration, started again at once", report, whole_s=back - killed,
         status=end.exit_status, said=told(end))  # fmt: skip
    assert (end.exit_status, end.state.value, end.failed_step) == (20, "failed", "migrate"), told(end)
    assert ended(again) == (0, "succeeded"), told(again)
    settled = back + patience()
    assert [f for f in report.failures if f.ended < killed or f.time > settled] == [], report.table()
    assert assert_whole(page) == other


@pytest.mark.long
def test_with_ports_carried_by_the_kernel_a_dead_daemon_is_not_missed(page_images: World) -> None:
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "tests.faults.kernel_ports"],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    row = Row("kill -9 of dockerd for 2 s in the bake, `userland-proxy: false`", told["requests"], told["failed"],
              told["bad"], None, told["status"], "nobody notices")  # fmt: skip
    ROWS.append(row)
    assert (told["failed"], told["status"], told["state"]) == (0, 0, "succeeded")


def test_a_release_that_turns_bad_is_reversed_although_the_engine_hangs(far_page: Page) -> None:
    """The daemon hangs, and the new container with it: nobody but our own probes can tell."""
    page = far_page
    live, other = pair(page)
    page.configure(bake="30s", policy=", drain_deadline: 1s")
    with page.load(timeout_s=10.0) as load:
        load.until(lambda so_far: so_far.requests > 20)
        switched(page, other)
        process = main_process(page, container(page, "live"))
        with hung(page.world):
            began = time.monotonic()
            os.kill(process, signal.SIGSTOP)
            wait(lambda: pair(page)[0] == live, "the flip back", seconds=120)
            took = time.monotonic() - began
        os.kill(process, signal.SIGCONT)
        answer = finished(page)
        report = load.stop()
    assert ended(answer) == (20, "rolled_back"), told(answer)
    seen(
        "dockerd hangs in the bake, and the new container too",
        report,
        whole_s=took,
        status=20,
        said=told(answer),
    )
    assert took < 12 * patience()
    assert assert_whole(page) == live


def test_a_rollback_flips_although_the_engine_hangs(far_page: Page) -> None:
    page = far_page
    _, other = pair(page)
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        with hung(page.world):
            began = time.monotonic()
            rollback = page.start("rollback", "dev")
            wait(lambda: pair(page)[0] == other, "the flip", seconds=120)
            took = time.monotonic() - began
        status = rollback.wait(120)
        report = load.stop()
    seen(
        "dockerd hangs, then `rollback`",
        report,
        whole_s=took,
        status=status,
        said="the other one serves; what the engine has to tell comes after the flip",
    )
    assert status == 0
    assert took < 3 * patience()
    assert report.failed == 0, report.table()
    assert assert_whole(page) == other


@pytest.mark.long
def test_a_hang_of_three_seconds_only_delays(far_page: Page) -> None:
    page = far_page
    _, other = pair(page)
    page.configure(migration_s="2")
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        with deploying(page, other) as deploy:
            reach(page, "migrate")
            with hung(page.world):
                time.sleep(3)
        report = load.stop()
    seen(
        "dockerd hangs for 3 s in a migration",
        report,
        status=deploy.returncode,
        said="the deploy takes 3 s longer",
    )
    assert deploy.returncode == 0
    assert report.failed == 0, report.table()
    assert assert_whole(page) == other


@pytest.mark.long
def test_an_engine_that_hangs_for_good_ends_the_deploy_in_time(far_page: Page) -> None:
    page = far_page
    live, other = pair(page)
    page.configure(migration_s="2")
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        with deploying(page, other) as deploy:
            reach(page, "migrate")
            with hung(page.world):
                began = time.monotonic()
                deploy.wait(400)
                took = time.monotonic() - began
        page.run("recover", "dev")
        report = load.stop()
    end = page.history()[0]
    seen(
        "dockerd hangs for good in a migration",
        report,
        whole_s=took,
        status=deploy.returncode,
        said=end["reason"],
    )
    assert deploy.returncode == 20
    assert report.failed == 0, report.table()
    assert assert_whole(page) == live


def test_an_image_store_that_is_full_costs_the_deploy_and_nothing_else(page_images: World) -> None:
    with private_world(page_images, image_disk="1g") as world, Page(world, f"full{os.getpid()}") as page:
        assert page.deploy("v1").status == 0
        with page.load() as load:
            load.until(lambda so_far: so_far.requests > 20)
            filler = fill(world.layout.engine / "data")
            began = time.monotonic()
            full = page.deploy("v2")
            took = time.monotonic() - began
            filler.unlink()
            assert assert_whole(page) == "v1"
            again = page.deploy("v2")
            report = load.stop()
        assert full.status in (10, 20), told(full)
        assert "space" in told(full), told(full)
        seen("the disk of the image store is full", report, whole_s=took, status=full.status, said=told(full))
        assert ended(again) == (0, "succeeded"), told(again)
        assert report.failed == 0, report.table()
