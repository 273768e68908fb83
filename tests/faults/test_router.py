"""HAProxy and its holder die under load."""

from __future__ import annotations

import time

import pytest

from backstay.adapters.haproxy import runtime
from backstay.adapters.haproxy.config import NOWHERE
from tests.crash.aftermath import answer, assert_whole
from tests.faults.matrix import seen
from tests.faults.scene import deploying, ended, frozen, kill, pair, reach, told, wait
from tests.load.record import SLOW
from tests.page import Page
from tests.page.looks import haproxy, holder, is_well, router, worker

pytestmark = pytest.mark.world

KILLS = 5
IN_FLIGHT = 10
"""How many short requests a kill of HAProxy may cost: those it was answering."""


def test_of_a_killed_haproxy_only_what_was_in_flight_is_lost(page: Page) -> None:
    live, _ = pair(page)
    kills, outages = [], []
    with page.load(keep_alive=7, fresh=3, slow=2, pacing_s=0.0) as load:
        load.until(lambda so_far: so_far.requests > 1000)
        for _ in range(KILLS):
            pid = haproxy(page)
            killed, began = load.now(), time.monotonic()
            kill(pid)
            kills.append((killed, load.now()))
            assert answer(page.port) == live
            outages.append(time.monotonic() - began)
            time.sleep(1.1)  # one that dies right after its start is started again more slowly
        report = load.stop()
    short = [failure for failure in report.failures if failure.kind != SLOW]
    rate = report.requests / (report.records[-1].ended - report.records[0].time)
    seen(
        f"kill -9 of HAProxy, {KILLS} times at {rate:,.0f} requests a second",
        report,
        whole_s=sorted(outages)[KILLS // 2],
        said=f"{len(short) / KILLS:.1f} short requests per kill, and what was slow",
    )
    assert len(short) <= IN_FLIGHT * KILLS, report.table()
    late = [
        f
        for f in report.failures
        if not any(f.time <= dead + 0.01 and f.ended >= killed for killed, dead in kills)
    ]
    assert late == [], "what came after the kill waits for the next HAProxy"
    assert report.bad_answers == {} and set(report.by_release) == {live}
    assert_whole(page)


def expects(page: Page) -> bool:
    """Whether the router waits for a new slot: what is left of `start` is up to the engine."""
    nowhere = f"{NOWHERE[0]}:{NOWHERE[1]}"
    return any(nowhere in servers.values() for servers in router(page).state().addresses.values())


def test_a_deploy_goes_on_through_deaths_of_haproxy(page: Page) -> None:
    """Before the switch and in the bake."""
    _, other = pair(page)
    page.configure(bake="2s")
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        with deploying(page, other) as deploy:
            wait(lambda: expects(page), "start")
            with frozen(worker(page)):  # the next step asks the next HAProxy, which may take longer to come
                kill(haproxy(page))
                wait(lambda: runtime.process_id(router(page).admin), "the next HAProxy")
            reach(page, "bake")
            kill(haproxy(page))
        report = load.stop()
    seen(
        "kill -9 of HAProxy in `start` and in `bake` of a deploy",
        report,
        status=0,
        said="the deploy succeeds",
    )
    assert deploy.returncode == 0
    assert report.failed <= 2 * IN_FLIGHT, report.table()
    assert assert_whole(page) == other


def test_a_killed_holder_is_not_missed_and_the_next_command_brings_one(page: Page) -> None:
    live, other = pair(page)
    before = holder(page)
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        kill(before)
        time.sleep(0.3)
        assert answer(page.port) == live
        healed = page.deploy(other, "--force")
        report = load.stop()
    assert ended(healed) == (0, "succeeded"), told(healed)
    seen(
        "kill -9 of the holder, then a deploy",
        report,
        status=0,
        said="HAProxy serves on; the deploy starts a holder",
    )
    assert report.failed == 0, report.table()
    assert assert_whole(page) == other
    assert holder(page) != before


def test_without_holder_and_haproxy_nobody_listens_until_the_next_command(page: Page) -> None:
    """The one fault of the router that is an outage: nobody is left who owns the listening sockets."""
    live, _ = pair(page)
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        began = time.monotonic()
        for pid in (holder(page), haproxy(page)):
            kill(pid)
        [drift] = page.status()["drift"]
        asked = time.monotonic()
        healed = page.run("recover", "dev", "--json")
        wait(lambda: is_well(page), "well")
        took = time.monotonic() - asked
        report = load.stop()
    assert healed.status == 0, healed.err
    assert drift["what"] == "router"
    out_s = time.monotonic() - began
    seen(
        "kill -9 of the holder and of HAProxy, then `recover`",
        report,
        whole_s=out_s,
        status=0,
        said=f"connections are refused until then; status: router is not running; `recover` takes {took:.1f} s",
    )
    assert report.by_release == {live: sum(report.by_release.values())}
    assert assert_whole(page) == live
