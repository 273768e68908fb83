"""Recovery through the command line: on real processes and HAProxy, and on Docker."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from backstay.adapters.host import start_time
from backstay.domain.slot import Slot
from devtools.demo.host import workers_of
from tests.real.plain import PlainApp
from tests.shop import Shop

needs_haproxy = pytest.mark.skipif(
    not (shutil.which("haproxy") or Path("/usr/sbin/haproxy").exists()), reason="HAProxy is not installed"
)
_numbers = count(1)


@pytest.fixture
def app() -> Iterator[PlainApp]:
    with PlainApp(f"recov{os.getpid()}x{next(_numbers)}") as made:
        for version in ("v1", "v2"):
            made.release(version)
        yield made


def until(true: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it may end by itself
        os.kill(pid, signal.SIGKILL)
    until(lambda: start_time(pid) is None)


def kill_worker(app: PlainApp) -> None:
    for pid in list(workers_of(app.home)):
        kill(pid)


def router_pids(home: Path) -> list[int]:
    """The holder and its HAProxy; the holder first."""
    folder = str(home / "router")
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if folder in words:
                found.append(("holder" not in words, int(entry.name)))
    return [pid for _, pid in sorted(found)]


def bake_for(app: PlainApp, time_: str) -> None:
    file = app.folder / "backstay.yml"
    file.write_text(file.read_text().replace(f"bake: {app.bake}", f"bake: {time_}"))


def recover(app: PlainApp | Shop, *words: str) -> tuple[int, Any]:
    answer = app.run("recover", "dev", "--json", *words)
    return answer.status, json.loads(answer.out)


def live_at(app: PlainApp, state: str) -> Callable[[], bool]:
    def look() -> bool:
        active = app.status()["deployment"]
        return bool(active) and active["state"] == state

    return look


@needs_haproxy
def test_a_worker_that_dies_in_its_bake_is_recovered_and_the_old_release_serves(app: PlainApp) -> None:
    assert app.deploy("v1").status == 0
    bake_for(app, "60s")
    assert app.deploy("v2", "--detach").status == 0
    until(live_at(app, "baking"))
    kill_worker(app)
    foreseen = app.status()["deployment"]["recovery"]
    assert foreseen["course"] == "undo" and "it died in bake" in foreseen["why"]
    status, told = recover(app, "--dry-run")
    assert status == 20 and told["decision"]["course"] == "undo" and app.serving() == "v2"
    with app.load() as load:
        load.until(lambda seen: seen.requests > 20)
        status, told = recover(app)
        report = load.stop()
    assert status == 20, told
    assert told["recovered"]["state"] == "rolled_back" and told["decision"]["course"] == "undo"
    assert report.failed == 0, report.table()
    assert app.serving() == "v1" and len(app.processes()) == 1
    assert app.status()["drift"] == [] and app.status()["lock"] is None
    assert recover(app) == (0, {**told, **_NOTHING})
    assert not list((app.home / "logs").glob("*"))


@needs_haproxy
def test_a_dead_rollback_that_had_switched_is_finished(app: PlainApp) -> None:
    """Its target answers, so nobody is led back to the release that people fled from."""
    for version in ("v1", "v2"):
        assert app.deploy(version).status == 0
    running = app.start("rollback", "dev")
    until(lambda: app.router.state().weights[Slot.BLUE] == 100)  # the file says so before the router does
    kill_worker(app)
    running.wait(30)
    ended = app.history()[0]
    if ended["state"] == "running":  # it was killed in time
        status, told = recover(app)
        assert (status, told["decision"]["course"], told["recovered"]["state"]) == (0, "forward", "succeeded")
    assert app.serving() == "v1"


@needs_haproxy
def test_after_a_reboot_recover_brings_everything_up(app: PlainApp) -> None:
    for version in ("v1", "v2"):
        assert app.deploy(version).status == 0
    for pid in router_pids(app.home):
        kill(pid)
    for process in app.processes():
        app.engine.stop(process.id, 0)
    assert {d["what"] for d in app.status()["drift"]} > {"router"}
    status, told = recover(app)
    assert status == 0, told
    assert told["drift"] == [] and len(told["healed"]) >= 3
    assert app.serving() == "v2" and app.status()["drift"] == []
    with app.load() as load:
        load.until(lambda seen: seen.requests > 20)
        report = load.stop()
    assert report.failed == 0 and set(report.by_release) == {"v2"}
    assert app.run("rollback", "dev").status == 0


@needs_haproxy
def test_a_router_whose_holder_died_is_taken_over_without_a_failed_request(app: PlainApp) -> None:
    assert app.deploy("v1").status == 0
    holder, *proxies = router_pids(app.home)
    kill(holder)
    with app.load() as load:
        load.until(lambda seen: seen.requests > 20)
        assert [d["found"] for d in app.status()["drift"]] == ["nobody would start it again"]
        status, told = recover(app)
        report = load.stop()
    assert status == 0 and [d["what"] for d in told["healed"]] == ["router"]
    assert report.failed == 0, report.table()
    until(lambda: not set(proxies) & set(router_pids(app.home)))
    assert app.status()["drift"] == []


@pytest.mark.world
def test_docker_containers_that_stopped_and_a_router_that_is_gone_come_back(shop: Shop) -> None:
    """`docker stop`, `docker restart` and a reboot in which everything of ours is killed; then what nobody owns."""
    for version in ("v1", "v2"):
        assert shop.deploy(version).status == 0
    docker = shop.world.docker
    live = shop.status()["live"]["components"]
    docker("restart", "-t", "0", live["backend"]["name"])
    docker("stop", "-t", "0", live["frontend"]["name"])
    assert f"container {live['frontend']['name']}" in [d["what"] for d in shop.status()["drift"]]
    status, told = recover(shop)
    assert (status, told["drift"]) == (0, []), told
    assert shop.status()["live"]["components"]["backend"]["port"] == live["backend"]["port"]
    assert shop.serving() == V2 and shop.status()["drift"] == []

    for pid in router_pids(shop.folder / "h"):
        kill(pid)
    docker("stop", "-t", "0", *shop.containers())
    strangers = [
        docker(
            "create", "--label", "backstay.app=other", "--label", "backstay.environment=dev", image(shop)
        ).strip(),
        docker("create", image(shop)).strip(),
    ]
    labels = {
        "app": shop.name,
        "environment": "dev",
        "deployment": "long-gone",
        "token": "1",
        "role": "migrate",
    }
    words = [word for key, value in labels.items() for word in ("--label", f"backstay.{key}={value}")]
    orphan = docker("create", "--name", f"{shop.name}-dev-orphan", *words, image(shop)).strip()
    try:
        status, told = recover(shop)
        assert (status, told["drift"]) == (0, []), told
        assert told["removed"] == [f"container {shop.name}-dev-orphan"]
        assert shop.serving() == V2 and shop.status()["drift"] == []
        there = docker("ps", "-aq", "--no-trunc").split()
        assert set(strangers) <= set(there) and orphan not in there
        assert len(shop.containers()) == 4
        with shop.load(slow=0) as load:
            load.until(lambda seen: seen.requests > 20)
            report = load.stop()
        assert report.failed == 0 and set(report.by_release) == {"v2"}
    finally:
        docker("rm", "-f", *strangers)


def image(shop: Shop) -> str:
    """Any image that the engine has."""
    return shop.world.docker("inspect", "-f", "{{.Config.Image}}", shop.containers()[0]).strip()


V2 = {"backend": "v2", "frontend": "v2"}
_NOTHING: dict[str, Any] = {
    "recovered": None,
    "decision": None,
    "healed": [],
    "removed": [],
    "drift": [],
    "exit_status": 0,
}
