"""`./dev demo --docker`: the shop goes from v1 to v2, v3 is refused, v4 is reversed, the backend alone goes back.

All of it under constant load on a real engine, registry, router and PostgreSQL. Ends 0 only if everything went as it
must; leaves nothing behind.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

from rich.console import Console
from rich.table import Table

from backstay.domain.duration import format_duration
from tests.load.control import Load
from tests.shop import Answer, Shop
from tests.world import World, images
from tests.world.errors import WorldMissing

LEAST_REQUESTS = 500
console = Console(width=110)


@dataclass
class Act:
    """One command of the story: what it must end with, and what must serve afterwards."""

    title: str
    words: tuple[str, ...]
    status: int
    state: str
    serving: dict[str, str]


V1, V2 = {"backend": "v1", "frontend": "v1"}, {"backend": "v2", "frontend": "v2"}
ACTS = (
    Act("v2, with a migration", ("deploy", "dev", "--version", "v2"), 0, "succeeded", V2),
    Act("v3, never healthy", ("deploy", "dev", "--version", "v3"), 20, "failed", V2),
    Act("v4, turns bad under traffic", ("deploy", "dev", "--version", "v4"), 20, "rolled_back", V2),
    Act(
        "backend alone back to v1",
        ("rollback", "dev", "backend", "--force"),
        0,
        "succeeded",
        {"backend": "v1", "frontend": "v2"},
    ),
)


@dataclass
class Outcome:
    """What an act did, and what the load saw meanwhile."""

    act: Act
    document: dict[str, Any]
    status: int
    serving: dict[str, str] | None
    requests: int
    failed: int
    bad: int

    @property
    def faults(self) -> list[str]:
        wrong = []
        if self.status != self.act.status:
            wrong.append(f"exit status {self.status}, expected {self.act.status}")
        if self.document.get("state") != self.act.state:
            wrong.append(
                f"state {self.document.get('state')}, expected {self.act.state}: {self.document.get('reason')}"
            )
        if self.serving != self.act.serving:
            wrong.append(f"{self.serving} serves, expected {self.act.serving}")
        if self.failed:
            wrong.append(f"{self.failed} failed requests")
        return wrong


def main() -> int:
    signal.signal(signal.SIGTERM, _interrupt)
    started_world = _bring_up()
    try:
        world = World.current()
        console.print("building and pushing the shop, v1 to v6 …")
        images.shop(world)
        return _play(world)
    finally:
        if started_world:
            World.down()


def _play(world: World) -> int:
    with Shop(world, f"demo{os.getpid()}", bake="8s", deadline="8s") as shop:
        console.print("first deploy: v1, before the load begins")
        first = shop.deploy("v1")
        if first.status != 0:
            console.print(f"[red]the first deploy failed[/red]: {first.out}\n{first.err}")
            return 1
        outcomes: list[Outcome] = []
        with shop.load(keep_alive=4, fresh=3, posts=2, slow=2, websockets=2, pacing_s=0.05) as load:
            load.until(lambda seen: seen.requests > 50)
            for act in ACTS:
                outcomes.append(_act(shop, load, act, sum(o.requests for o in outcomes)))
            report = load.stop()
        written, orders = (
            len([r for r in report.records if r.kind == "post" and r.outcome == "ok"]),
            shop.orders(),
        )
        faults = [f"{o.act.title}: {fault}" for o in outcomes for fault in o.faults]
        faults += _whole(report.requests, report.failed, outcomes)
        if orders < written:
            faults.append(f"{written} orders were acknowledged, the database has {orders}")
        for failure in report.failures[:10]:
            faults.append(f"failed request: {failure}")
        _show(outcomes, report.requests, report.failed, sum(report.bad_answers.values()), orders)
    for fault in faults:
        console.print(f"[red]wrong[/red]: {fault}")
    console.print("[green]everything went as it must[/green]" if not faults else "[red]the demo failed[/red]")
    return 1 if faults else 0


def _act(shop: Shop, load: Load, act: Act, before: int) -> Outcome:
    console.print(f"\n[bold]$ backstay {' '.join(act.words)}[/bold]   ({act.title})")
    began = load.now()
    answer: Answer = shop.run(*act.words, "--json")
    document = answer.lines[-1] if answer.out.strip() else {"reason": answer.err}
    if document.get("reason"):
        console.print(f"  {document['state']}: {document['reason']}", highlight=False, markup=False)
    time.sleep(0.5)
    seen = load.so_far().between(began, load.now())
    console.print(f"  exit {answer.status}, {seen.requests} requests meanwhile, {seen.failed} failed")
    return Outcome(
        act,
        document,
        answer.status,
        shop.serving(),
        seen.requests,
        seen.failed,
        sum(seen.bad_answers.values()),
    )


def _whole(requests: int, failed: int, outcomes: list[Outcome]) -> list[str]:
    wrong = []
    if requests < LEAST_REQUESTS:
        wrong.append(f"only {requests} requests were sent")
    if failed:
        wrong.append(f"{failed} of {requests} requests failed")
    if not any(o.bad for o in outcomes if o.act.state == "rolled_back"):
        wrong.append("v4 gave no bad answer: nothing was proven")
    return wrong


def _show(outcomes: list[Outcome], requests: int, failed: int, bad: int, orders: int) -> None:
    table = Table(title="What happened, under constant load", title_justify="left")
    columns = ("release", "outcome", "requests", "failed", "bad answers", "switch", "rollback", "total")
    for n, name in enumerate(columns):
        table.add_column(name, justify="left" if n < 2 else "right")
    time_of: Callable[[Any], str] = lambda s: format_duration(s) if s is not None else "–"  # noqa: E731
    for o in outcomes:
        d = o.document
        table.add_row(
            o.act.title, d.get("state"), str(o.requests), str(o.failed), str(o.bad),
            time_of(d.get("switch_s")), time_of(d.get("rollback_s")), time_of(d.get("total_s")),
        )  # fmt: skip
    table.add_section()
    table.add_row("all", "", str(requests), str(failed), str(bad), "", "", "")
    console.print()
    console.print(table)
    console.print(f"{orders} orders were written through it all; none acknowledged was lost.")
    console.print(
        "failed: refused, reset, timed out, or an error no release made · bad answers: what v4 itself answered"
    )


def _bring_up() -> bool:
    """Start the test world if none runs; True when we did."""
    try:
        World.current()
    except WorldMissing:
        World.up(lambda line: console.print(line, highlight=False))
        return True
    return False


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
