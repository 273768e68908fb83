"""Everything dies at once, as when the machine loses its power in the middle of a deploy, and is started again."""

from __future__ import annotations

import shutil
import signal
import time

import pytest

from tests.crash.aftermath import assert_whole
from tests.faults.matrix import seen
from tests.faults.scene import kill, pair, switched, wait
from tests.page import Page
from tests.page.looks import haproxy, holder, is_well, newest, worker
from tests.world import World, engine, postgres, processes
from tests.world.private import start_dockerd

pytestmark = pytest.mark.world


def pull_the_plug(page: Page) -> None:
    """Kill worker, router, database, engine and containers; forget what lies in memory only."""
    world = page.world
    sockets = engine.shim_sockets(world.state)
    for pid in (worker(page), holder(page), haproxy(page)):
        kill(pid)
    marks = {*world.state.processes.values(), *processes.marked(world.state.marker)}
    marks |= postgres.remaining(world.layout)
    processes.end(marks, first=signal.SIGKILL)
    for path in sockets:
        path.unlink(missing_ok=True)
    engine.unmount_all(world.layout)
    for name in ("exec", "run-containerd"):
        shutil.rmtree(world.layout.engine / name, ignore_errors=True)


def start_again(world: World) -> None:
    """What the init system of a host does: the database, containerd, and dockerd, which starts its containers."""
    world.state.processes["postgres"] = postgres.start_again(world.layout, world.state)
    world.state.processes["containerd"] = engine.start_containerd(world.layout, world.state)
    engine.await_containerd(world.layout, world.state.processes["containerd"])
    start_dockerd(world.layout, world.state)
    postgres.await_ready(world.layout, world.state, world.state.processes["postgres"])


def test_after_a_reboot_in_the_bake_the_old_version_serves_again(far_page: Page) -> None:
    page = far_page
    live, other = pair(page)
    page.configure(bake="60s")
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        switched(page, other)
        before = newest(page).id
        pull_the_plug(page)
        start_again(page.world)
        began = time.monotonic()
        healed = page.run("recover", "dev", "--json")
        wait(lambda: is_well(page), "well")
        took = time.monotonic() - began
        back = load.now()
        time.sleep(0.5)
        report = load.stop()
    assert (newest(page).id, newest(page).state.value) == (before, "rolled_back"), newest(page)
    seen("reboot in the bake, then `recover`", report, whole_s=took, status=healed.status,
         said=f"nobody listens until `recover`: {newest(page).reason}")  # fmt: skip
    assert healed.status == 20, healed.err
    assert [failure for failure in report.failures if failure.time > back] == []
    assert assert_whole(page) == live
    assert page.deploy(other, "--force").status == 0
    assert assert_whole(page) == other
