"""Deploy and roll back, over and over: nothing piles up."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from tests.crash.aftermath import assert_whole, processes_with
from tests.faults.matrix import seen
from tests.faults.scene import pair, wait
from tests.page import Page
from tests.page.looks import haproxy, holder
from tests.real.plain import PlainApp
from tests.shop import workers_of

pytestmark = pytest.mark.world

CYCLES_A_LOAD = 50
"""The load client keeps what it saw; now and then it begins anew."""


@dataclass(frozen=True)
class Footprint:
    """What an environment takes of its machine at rest. Memory in KiB."""

    processes: int
    descriptors: int
    threads: int
    memory: int
    containers: int
    files: int

    def more_than(self, before: Footprint) -> str:
        """What grew, for people; empty when nothing did. Memory may grow by half, and HAProxy keeps a few descriptors
        of connections."""
        grown = []
        for name in ("processes", "containers"):
            if getattr(self, name) > getattr(before, name):
                grown.append(name)
        for name, room in (("descriptors", 12), ("threads", 2)):
            if getattr(self, name) > getattr(before, name) + room:
                grown.append(name)
        if self.memory > before.memory * 1.5:
            grown.append("memory")
        return ", ".join(grown)


def footprint(home: Path, pids: list[int], containers: int) -> Footprint:
    # Who still ends is counted once and not the other time, and takes files away while they are looked at.
    wait(lambda: not list(workers_of(home)), "the end of the last worker")

    def summed(ask: Callable[[Path], int]) -> int:
        return sum(ask(Path(f"/proc/{pid}")) for pid in pids)

    return Footprint(
        processes=len(processes_with(str(home))),
        descriptors=summed(lambda proc: len(list((proc / "fd").iterdir()))),
        threads=summed(lambda proc: len(list((proc / "task").iterdir()))),
        memory=summed(lambda proc: _kib((proc / "status").read_text())),
        containers=containers,
        files=sum(1 for path in home.rglob("*") if path.is_file()),
    )


def _kib(status: str) -> int:
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("cycles", [100])
@pytest.mark.long
@pytest.mark.timeout(3600)
def test_nothing_piles_up_on_docker(page: Page, cycles: int) -> None:
    home = page.folder / "h"

    def look() -> Footprint:
        return footprint(home, [holder(page), haproxy(page)], len(page.containers()))

    for _ in range(2):
        cycle(page)
    before, size, began = look(), size_of(home), time.monotonic()
    for _ in range(cycles):
        cycle(page)
    time.sleep(0.5)
    after, grown = look(), size_of(home) - size
    took = (time.monotonic() - began) / cycles
    seen(
        f"{cycles} cycles of deploy and rollback (Docker)",
        status=0,
        said=_told(took, grown / cycles, before, after),
    )
    assert after.more_than(before) == "", (before, after)
    assert grown / cycles < 300 * 1024, "journal, snapshot and backup"
    assert_whole(page)


def _told(took_s: float, grown: float, before: Footprint, after: Footprint) -> str:
    changes = ", ".join(
        f"{field.name} {getattr(before, field.name)} → {getattr(after, field.name)}"
        for field in fields(before)
    )
    return f"{took_s:.1f} s each; state grows by {grown / 1024:.0f} KiB a cycle; {changes}"


def cycle(page: Page) -> None:
    live, other = pair(page)
    assert page.deploy(other, "--force").status == 0
    assert page.run("rollback", "dev", "--json").status == 0
    assert pair(page)[0] == live


@pytest.mark.parametrize("cycles", [4, pytest.param(1000, marks=pytest.mark.long)])
@pytest.mark.timeout(2 * 3600)
def test_nothing_piles_up_on_the_process_engine(cycles: int) -> None:
    """The same commands, store, router and journal; plain processes in place of containers make it quick."""
    with PlainApp(f"cycles{os.getpid()}", bake="0s") as app:
        for version in ("v1", "v2"):
            app.release(version)
        assert app.deploy("v1").status == 0

        def look() -> Footprint:
            from backstay.adapters.haproxy import HaproxyRouter

            router = HaproxyRouter(app.home / "router" / f"{app.name}.dev", app.name, "dev")
            status = router.keeper.ask("status")
            return footprint(app.home, [status["pid"], status["haproxy"]], len(app.processes()))

        with app.load() as load:
            for _ in range(2):
                _plain_cycle(app)
            report = load.stop()
        before, size, began = look(), size_of(app.home), time.monotonic()
        for first in range(0, cycles, CYCLES_A_LOAD):
            with app.load() as load:
                for _ in range(min(CYCLES_A_LOAD, cycles - first)):
                    _plain_cycle(app)
                report = load.stop()
            assert report.failed == 0, report.table()
        after, grown = look(), size_of(app.home) - size
        took = (time.monotonic() - began) / cycles
        seen(
            f"{cycles} cycles of deploy and rollback (process engine)",
            report,
            status=0,
            said=_told(took, grown / cycles, before, after),
        )
        assert after.more_than(before) == "", (before, after)
        assert grown / cycles < 300 * 1024, "journal and snapshot"
        assert app.serving() == "v1"


def _plain_cycle(app: PlainApp) -> None:
    deployed = app.deploy("v2")
    assert deployed.status == 0, deployed.out + deployed.err
    back = app.run("rollback", "dev", "--json")
    assert back.status == 0, back.out + back.err
