"""The worker dies or is frozen; another command brings its deployment to an end."""

from __future__ import annotations

import time

import pytest

from tests.crash.aftermath import assert_whole
from tests.faults.matrix import seen
from tests.faults.scene import deploying, ended, kill, pair, reach, switched, told
from tests.page import Page
from tests.page.looks import newest, reader, worker

pytestmark = pytest.mark.world


def test_a_worker_killed_in_the_bake_is_recovered_to_the_old_version(page: Page) -> None:
    live, other = pair(page)
    page.configure(bake="30s")
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        switched(page, other)
        kill(worker(page))
        began = time.monotonic()
        healed = page.run("recover", "dev", "--json")
        took = time.monotonic() - began
        report = load.stop()
    assert newest(page).state.value == "rolled_back", newest(page)
    events = {event.kind: event for event in reader(page).events(newest(page).id)}
    seen("kill -9 of the worker in the bake, then `recover`", report, whole_s=took, status=healed.status,
         said=newest(page).reason or "")  # fmt: skip
    assert healed.status == 20, healed.err
    assert events["recovery_started"]
    assert report.failed == 0, report.table()
    assert assert_whole(page) == live


def test_a_worker_killed_before_the_switch_is_recovered_by_the_next_deploy(page: Page) -> None:
    _, other = pair(page)
    page.configure(migration_s="2")
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        with deploying(page, other):
            reach(page, "migrate")
            kill(worker(page))
        page.configure(**page.usual)
        began = time.monotonic()
        again = page.deploy(other)
        took = time.monotonic() - began
        report = load.stop()
    states = [row["state"] for row in page.history()[:2]]
    seen("kill -9 of the worker in a migration, then a deploy", report, whole_s=took, status=again.status,
         said="the first deploy ends failed, after its migration; the second one succeeds")  # fmt: skip
    assert ended(again) == (0, "succeeded"), told(again)
    assert states == ["succeeded", "failed"]
    assert report.failed == 0, report.table()
    assert assert_whole(page) == other
