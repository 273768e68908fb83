"""Looks at a page from this process: what its store, router and engine say, without the start of a command."""

from __future__ import annotations

import time
from typing import Any

from backstay.adapters.clock import SystemClock
from backstay.adapters.docker import DockerEngine
from backstay.adapters.haproxy import HaproxyRouter, runtime
from backstay.adapters.host import LinuxHost
from backstay.adapters.http import HttpProber
from backstay.adapters.store import open_reader
from backstay.domain.deployment import Deployment
from backstay.pipeline.status import status as look_around
from backstay.ports.store import Reader
from backstay.wiring import Look
from tests.page import Page
from tests.shop import workers_of


def reader(page: Page) -> Reader:
    return open_reader(page.folder / "h" / "state.db")


def newest(page: Page) -> Deployment:
    return reader(page).history(page.name, "dev")[-1]


def status(page: Page) -> dict[str, Any]:
    """As `backstay status` shows it, without a process for it."""
    engine = DockerEngine(page.world.docker_host, call_s=2)
    ports = Look(reader(page), engine, router(page), HttpProber(), LinuxHost(), SystemClock())
    return look_around(ports, page.name, "dev")


def is_well(page: Page) -> bool:
    """Whether store, engine and router agree, nobody is at work and every container is healthy."""
    now = status(page)
    if now["drift"] or now["lock"] or now["deployment"] or not now["live"]:
        return False
    return all(c["healthy"] for c in now["live"]["components"].values())


def router(page: Page) -> HaproxyRouter:
    return HaproxyRouter(page.folder / "h" / "router" / f"{page.name}.dev", page.name, "dev")


def haproxy(page: Page) -> int:
    """Pid of the HAProxy that serves."""
    pid = runtime.process_id(router(page).admin)
    assert pid is not None
    return pid


def holder(page: Page) -> int:
    return int(router(page).keeper.ask("status")["pid"])


def worker(page: Page) -> int:
    [pid] = workers_of(page.folder / "h")
    return pid


def container(page: Page, slot: str) -> str:
    """Id of the component's container in `live` or `standby`."""
    return str(status(page)[slot]["components"]["web"]["container"])


def main_process(page: Page, id_: str, after: int = 0, seconds: float = 30) -> int:
    """Pid, on this host, of a container's first process: once it runs, and as another process than `after`."""
    end = time.monotonic() + seconds
    # 0 is what the engine says of a container that does not run, and a signal to 0 is one to all of us.
    while (pid := int(page.world.docker("inspect", "-f", "{{.State.Pid}}", id_))) in (0, after):
        assert time.monotonic() < end, f"{id_} has no process but {pid}"
        time.sleep(0.02)
    return pid
