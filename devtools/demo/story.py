"""The story of both demos: v1 to v2, v3 is refused, v4 is reversed, v7 and v8 are caught by their rehearsals, and back
to v1 by hand; all under load."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from rich.console import Console

from tests.load.control import Load
from tests.load.report import Report

LEAST_REQUESTS: Final = 500
NARROWEST, WIDEST = 70, 100
LABELS: Final = {
    "component_healthy": "healthy",
    "backup_made": "backup",
    "migration_ended": "migrated",
    "traffic_switched": "switch",
    "rollback_triggered": "trigger",
    "release_promoted": "baked",
    "backup_verified": "verified",
    "migration_rehearsed": "rehearsed",
    "release_rehearsed": "rehearsed",
    "rehearsal_ended": "verdict",
}
"""Kinds of events worth a line of the demo; one that says that something failed is shown always."""


class Stage(Protocol):
    """Where the story plays: an environment `dev` of the shop, and how to reach it."""

    @property
    def folder(self) -> Path: ...

    @property
    def env(self) -> dict[str, str]: ...

    def argv(self, *words: str) -> list[str]:
        """The command line of `backstay WORDS`."""

    def serving(self) -> dict[str, str] | None:
        """Component to version, as `status` shows it."""

    def load(self, **changes: Any) -> Load: ...

    def rehearse_from_now_on(self) -> None:
        """Change the policy: every release is tried on a copy of the database first."""

    def orders(self) -> int:
        """How many orders the database has."""


@dataclass(frozen=True)
class Act:
    """One command of the story: what it must end with, and what must serve afterwards. `verdict` is what the rehearsal
    must say, where there is one."""

    title: str
    words: tuple[str, ...]
    status: int
    state: str
    serving: Mapping[str, str]
    verdict: str | None = None


V1: Final = {"backend": "v1", "frontend": "v1"}
V2: Final = {"backend": "v2", "frontend": "v2"}
FIRST: Final = Act("v1, the first release", ("deploy", "dev", "--version", "v1"), 0, "succeeded", V1)
ACTS: Final = (
    Act("v2, with a migration", ("deploy", "dev", "--version", "v2"), 0, "succeeded", V2),
    Act("v3, never healthy", ("deploy", "dev", "--version", "v3"), 20, "failed", V2),
    Act("v4, bad under traffic", ("deploy", "dev", "--version", "v4"), 20, "rolled_back", V2),
    Act("v7, breaking for v2", ("deploy", "dev", "--version", "v7"), 30, "failed", V2, "breaking"),
    Act("v8, fails on our data", ("deploy", "dev", "--version", "v8"), 30, "failed", V2, "failed"),
    Act(
        "backend back to v1",
        ("rollback", "dev", "backend", "--force"),
        0,
        "succeeded",
        {**V2, "backend": "v1"},
    ),
)


@dataclass
class Outcome:
    """What an act did. `ended` is the wall-clock time at which its command had ended, as the load has it."""

    act: Act
    document: Mapping[str, Any]
    status: int
    serving: Mapping[str, str] | None
    ended: float
    verdict: str | None = None

    @property
    def faults(self) -> list[str]:
        """How it differs from what must happen."""
        act, state, wrong = self.act, self.document.get("state"), []
        if self.status != act.status:
            wrong.append(f"exit status {self.status}, expected {act.status}: {self.document.get('reason')}")
        if state != act.state:
            wrong.append(f"state {state}, expected {act.state}: {self.document.get('reason')}")
        if self.verdict != act.verdict:
            wrong.append(f"the rehearsal said {self.verdict}, expected {act.verdict}")
        if self.serving != act.serving:
            wrong.append(f"{self.serving} serves, expected {act.serving}")
        return [f"{act.title}: {fault}" for fault in wrong]


@dataclass
class Told:
    """The whole story: every act, what the load saw, and what was wrong."""

    first: Outcome
    outcomes: Sequence[Outcome] = ()
    report: Report = field(default_factory=lambda: Report(()))
    orders: int = 0

    @property
    def written(self) -> int:
        """Orders that the shop acknowledged."""
        return sum(record.kind == "post" and record.outcome == "ok" for record in self.report.records)

    @property
    def faults(self) -> list[str]:
        wrong = [fault for outcome in (self.first, *self.outcomes) for fault in outcome.faults]
        if len(self.outcomes) < len(ACTS):
            return [*wrong, "the story was not played to its end"]
        report = self.report
        if report.requests < LEAST_REQUESTS:
            wrong.append(f"only {report.requests} requests were sent")
        if report.failed:
            wrong.append(f"{report.failed} of {report.requests} requests failed")
            wrong += [f"failed: {record}" for record in report.failures[:10]]
        if strangers := {v: n for v, n in report.bad_answers.items() if v != "v4"}:
            wrong.append(f"bad answers of good releases: {strangers}")
        if not report.bad_answers.get("v4"):
            wrong.append("v4 gave no bad answer, so nothing was proven")
        if self.orders < self.written:
            wrong.append(f"{self.written} orders were acknowledged, the database has {self.orders}")
        return wrong


def play(stage: Stage, console: Console) -> Told:
    """Tell the story on `stage`, saying what happens. What went wrong is in the result, not raised."""
    told = Told(_act(stage, FIRST, console, time.time))
    if told.first.faults:
        return told
    outcomes: list[Outcome] = []
    with stage.load(keep_alive=4, fresh=3, posts=2, slow=2, websockets=2, pacing_s=0.05) as load:
        load.until(lambda seen: seen.requests > 50)
        say(
            console,
            "\n[dim]… and from here on 13 clients keep asking: pages, API, orders, slow answers, websockets[/]",
        )
        for act in ACTS:
            if act.verdict is not None and outcomes[-1].act.verdict is None:
                stage.rehearse_from_now_on()
                say(
                    console,
                    "\n[dim]… and from here on every release is tried on a copy of the database first[/]",
                )
            outcomes.append(_act(stage, act, console, load.now))
            _so_far(console, load.so_far())
        report = load.stop()
    return Told(told.first, outcomes, report, stage.orders())


def new_console() -> Console:
    """The terminal, or what stands for it, at a width that reads well."""
    console = Console()
    console.width = max(NARROWEST, min(console.width, WIDEST))
    return console


def say(console: Console, text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True)


def _act(stage: Stage, act: Act, console: Console, now: Any) -> Outcome:
    say(console, f"\n[bold]$ backstay {' '.join(act.words)}[/]   [dim]{act.title}[/]")
    began = time.monotonic()
    lines: list[dict[str, Any]] = []
    with subprocess.Popen(
        stage.argv(*act.words, "--json"),
        env=stage.env,
        cwd=stage.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(json.loads(line))
            _show_event(console, lines[-1], time.monotonic() - began)
    document = lines[-1] if lines else {}
    verdict = next((e["data"]["verdict"] for e in lines if e.get("kind") == "rehearsal_ended"), None)
    return Outcome(act, document, process.returncode, stage.serving(), now(), verdict)


def _show_event(console: Console, event: Mapping[str, Any], after_s: float) -> None:
    failed = (event.get("data") or {}).get("ok") is False
    kind = str(event.get("kind"))
    if kind in LABELS or failed:
        _line(console, after_s, LABELS.get(kind, "failed"), event["message"])
    if "state" in event and "steps" in event:
        _line(console, after_s, "end", ": ".join(filter(None, (event["state"], event.get("reason")))))


def _line(console: Console, after_s: float, label: str, message: str) -> None:
    """When it happened, what, and the rest of the words below each other."""
    begin = f"  {after_s:5.1f} s  {label:<9} "
    text = textwrap.fill(message, console.width, initial_indent=begin, subsequent_indent=" " * len(begin))
    console.print(text, highlight=False, markup=False)


def _so_far(console: Console, seen: Report) -> None:
    bad = sum(seen.bad_answers.values())
    say(
        console,
        f"           [dim]so far {seen.requests} requests, {seen.failed} failed, {bad} bad answers[/]",
    )
