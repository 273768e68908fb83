"""Somebody who is not root deploys, rehearses, restores and recovers; all that needs is the right to use the engine."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.person import UID, PersonsShop
from tests.real.workers import until_no_worker_runs
from tests.world import World

pytestmark = pytest.mark.world


@pytest.fixture(scope="module")
def live(shop_images: World) -> Iterator[PersonsShop]:
    """v1 serves, put there by somebody who is not root."""
    with PersonsShop(shop_images, f"per{os.getpid()}", bake="1s") as made:
        answer = made.deploy("v1")
        assert answer.status == 0, answer.err
        made.rehearse_from_now_on()
        yield made


def owners(folder: Path) -> set[int]:
    until_no_worker_runs(folder)
    return {path.lstat().st_uid for path in folder.rglob("*")}


def router_users(shop: PersonsShop) -> set[int]:
    """Who runs the processes that name this shop's router folder: the holder, and HAProxy."""
    named = f"{shop.folder}/h/router/".encode()
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if named in (process / "cmdline").read_bytes():
                found.add(process.stat().st_uid)
        except OSError:
            continue
    return found


def test_a_deployment_with_its_rehearsal_leaves_nothing_of_root_behind(live: PersonsShop) -> None:
    answer = live.deploy("v2")
    assert answer.status == 0, answer.last["reason"]
    assert answer.rehearsal["verdict"] == "compatible" and answer.rehearsal["isolated"]
    assert live.serving() == {"backend": "v2", "frontend": "v2"}
    assert owners(live.folder / "h") == {UID} and router_users(live) == {UID}
    assert list((live.folder / "h" / "scratch").iterdir()) == []


def test_a_restore_swaps_the_database(live: PersonsShop) -> None:
    serving = live.serving()
    made = live.run("backup", "create", "dev", "--json").last
    live.order()
    answer = live.run("backup", "restore", "dev", made["id"], "--accept-loss", "1", "--yes", "--json")
    assert answer.status == 0, answer.err
    assert live.orders() == 0 and live.serving() == serving


def test_a_dead_worker_is_recovered_from(live: PersonsShop) -> None:
    serving = live.serving()
    live.configure(bake="60s", rehearsal="off")
    client = live.start("deploy", "dev", "--version", "v2")
    try:
        live.until("baking")
        worker = live.worker()
        assert worker is not None and Path(f"/proc/{worker}").stat().st_uid == UID
        os.kill(worker, signal.SIGKILL)
        assert client.wait(30) == 21
    finally:
        client.kill()
        live.configure(bake="1s", rehearsal="always")
    answer = live.run("recover", "dev", "--json")
    assert answer.status == 20, answer.err
    assert live.history()[0]["state"] == "rolled_back"
    assert live.serving() == serving
    assert owners(live.folder / "h") == {UID}


def test_a_port_that_only_root_may_open_is_refused_with_the_cure(live: PersonsShop) -> None:
    file = live.folder / "backstay.yml"
    text = file.read_text().replace(f'bind: "127.0.0.1:{live.port}"', 'bind: "127.0.0.1:81"')
    file.write_text(text.replace("policy: {", "policy: {checks: standard, "))
    try:
        answer = live.run("check", "dev", "--json")
    finally:
        live.configure()
    assert answer.status == 10
    [found] = [each for each in answer.last["checks"] if not each["ok"] and each["severity"] == "error"]
    assert "81" in found["detail"] and "net.ipv4.ip_unprivileged_port_start" in found["hint"]
