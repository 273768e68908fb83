"""Containers die, freeze and run out of memory: the new one before and after the switch, the old one, the live one."""

from __future__ import annotations

import time

import pytest

from backstay.domain.step import Event
from tests.crash.aftermath import assert_whole
from tests.faults.matrix import seen
from tests.faults.scene import deploying, ended, finished, kill, pair, reach, switched, told, wait
from tests.page import Page
from tests.page.looks import container, is_well, main_process, newest, reader
from tests.world.errors import WorldError

pytestmark = pytest.mark.world


def fresh(page: Page) -> str:
    """Id of the container that the deployment under way has made."""
    words = ("--filter", f"label=backstay.deployment={newest(page).id}", "--filter", "label=backstay.slot")
    wait(lambda: page.world.docker("ps", "-q", *words).strip(), "a new container", pause=0.01)
    return page.world.docker("ps", "-q", *words).strip()


def story(page: Page) -> dict[str, Event]:
    """What was told of the newest deployment: of each kind the last."""
    return {event.kind: event for event in reader(page).events(newest(page).id)}


def test_the_new_container_killed_before_the_switch_is_refused(page: Page) -> None:
    live, _ = pair(page)
    page.configure(deadline="60s")
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        with deploying(page, "late"):
            reach(page, "health")
            kill(main_process(page, fresh(page)))
            began = time.monotonic()
            answer = finished(page)
        took = time.monotonic() - began
        report = load.stop()
    assert ended(answer) == (20, "failed"), told(answer)
    seen("kill -9 of the new container before the switch", report, whole_s=took, status=20, said=told(answer))
    assert report.failed == 0 and set(report.by_release) == {live}, report.table()
    assert assert_whole(page) == live


def test_the_new_container_killed_again_and_again_in_the_bake_is_reversed(page: Page) -> None:
    live, other = pair(page)
    page.configure(bake="20s")
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        switched(page, other)
        began, new, killed, kills = time.monotonic(), fresh(page), 0, 0
        try:
            while kills < 3:
                killed = main_process(page, new, after=killed)
                kill(killed)
                kills += 1
        except (WorldError, ProcessLookupError):  # it is gone: its reversal came before the third time
            assert "reversal_started" in story(page)
        answer = finished(page)
        took = time.monotonic() - began
        report = load.stop()
    assert kills > 0
    assert ended(answer) == (20, "rolled_back"), told(answer)
    if trigger := story(page).get("rollback_triggered"):
        assert kills == 3 or trigger.data["trigger"] != "restarts", "two restarts are allowed"
    seen(
        f"kill -9 of the new container in the bake, {kills} times",
        report,
        whole_s=took,
        status=20,
        said=told(answer),
    )
    assert assert_whole(page) == live


def test_the_new_container_frozen_in_the_bake_is_reversed(page: Page) -> None:
    live, other = pair(page)
    page.configure(bake="20s", policy=", drain_deadline: 2s")
    with page.load(timeout_s=10.0) as load:
        load.until(lambda so_far: so_far.requests > 20)
        switched(page, other)
        began, new = time.monotonic(), fresh(page)
        page.world.docker("pause", new)
        wait(lambda: pair(page)[0] == live, "the flip back")
        flipped = time.monotonic() - began
        answer = finished(page)
        took = time.monotonic() - began
        report = load.stop()
    assert ended(answer) == (20, "rolled_back"), told(answer)
    seen("docker pause of the new container in the bake", report, whole_s=took, status=20,
         said=f"back after {flipped:.1f} s: {told(answer)}")  # fmt: skip
    assert assert_whole(page) == live


def test_the_old_container_killed_in_the_bake_harms_nobody(page: Page) -> None:
    _, other = pair(page)
    page.configure(bake="4s")
    old = container(page, "live")
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        switched(page, other)
        kill(main_process(page, old))
        answer = finished(page)
        report = load.stop()
    assert ended(answer) == (0, "succeeded"), told(answer)
    seen(
        "kill -9 of the old container in the bake",
        report,
        status=0,
        said="the deploy succeeds; the engine starts it again",
    )
    assert report.failed == 0, report.table()
    assert assert_whole(page) == other


def test_the_live_container_killed_is_started_again_by_the_engine(page: Page) -> None:
    live, _ = pair(page)
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        began = time.monotonic()
        kill(main_process(page, container(page, "live")))
        wait(lambda: is_well(page), "well again")
        took = time.monotonic() - began
        time.sleep(0.3)
        report = load.stop()
    seen(
        "kill -9 of the live container, nothing under way",
        report,
        whole_s=took,
        said="the engine starts it again",
    )
    assert report.by_release == {live: sum(report.by_release.values())}
    assert took < 5
    assert assert_whole(page) == live


def test_the_live_container_frozen_is_left_by_a_rollback(page: Page) -> None:
    """What a person does at three in the morning: look, go back."""
    _, other = pair(page)
    frozen = container(page, "live")
    with page.load(timeout_s=10.0) as load:
        load.until(lambda so_far: so_far.requests > 20)
        page.world.docker("pause", frozen)
        try:
            looked = page.run("status", "dev")
            began = time.monotonic()
            answer = page.run("rollback", "dev", "--json")
            took = time.monotonic() - began
            moved = load.now()
            time.sleep(0.5)
            failed_after = [f for f in load.so_far().failures if f.time > moved]
        finally:
            page.world.docker("unpause", frozen)
        report = load.stop()
    assert ended(answer) == (0, "succeeded"), told(answer)
    assert looked.status == 0
    seen(
        "docker pause of the live container, then `rollback`",
        report,
        whole_s=took,
        status=0,
        said="the other one serves",
    )
    assert failed_after == []
    assert assert_whole(page) == other


@pytest.mark.long
def test_a_version_that_needs_more_memory_than_it_may_never_serves(page: Page) -> None:
    live, _ = pair(page)
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        began = time.monotonic()
        answer = page.deploy("hungry", "--force")
        took = time.monotonic() - began
        report = load.stop()
    assert ended(answer) == (20, "failed"), told(answer)
    seen("OOM kill of the new container at its start", report, whole_s=took, status=20, said=told(answer))
    assert report.failed == 0, report.table()
    assert assert_whole(page) == live


def test_a_version_that_runs_out_of_memory_when_it_serves_is_reversed(page: Page) -> None:
    live, _ = pair(page)
    page.configure(bake="20s")
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        began = time.monotonic()
        answer = page.deploy("greedy", "--force")
        took = time.monotonic() - began
        report = load.stop()
    assert ended(answer) == (20, "rolled_back"), told(answer)
    seen(
        "OOM kill of the new container in the bake, over and over",
        report,
        whole_s=took,
        status=20,
        said=told(answer),
    )
    assert assert_whole(page) == live
