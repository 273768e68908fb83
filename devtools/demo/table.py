"""The closing table of a demo."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from backstay.domain.duration import format_duration
from devtools.demo.story import Outcome, Told
from tests.load.report import Report

ENDS: Final = {"succeeded": "live", "failed": "refused", "rolled_back": "reversed"}
NONE: Final = "–"
COUNTS: Final = ("requests\nsent", "failed", "bad\nanswers")
WIDE: Final = 78
"""Columns that the whole table needs; a narrower terminal does without the outcome, which the lines above told."""


def show(told: Told, took_s: float, console: Console) -> None:
    """What happened: a row per event, what the numbers mean, and whether all went as it must."""
    table = Table(
        title="What happened, and what the visitors noticed",
        title_justify="left",
        title_style="bold",
        box=box.HORIZONTALS,
        padding=(0, 1, 0, 0),
        show_footer=bool(told.outcomes),
    )
    shown = [column for column in _columns(told.report) if column[0] != "outcome" or console.width >= WIDE]
    for name, footer in shown:
        is_text = name in ("event", "outcome")
        table.add_column(name, footer=footer, justify="left" if is_text else "right", no_wrap=True)
    for outcome, seen in [(told.first, None), *_windows(told)]:
        row = _row(outcome, seen)
        table.add_row(*(row[name] for name, _ in shown))
    console.print()
    console.print(table)
    if told.outcomes:
        console.print(
            "[dim]failed: refused, reset, timed out, or an error that no release made; must be 0\n"
            "bad answers: errors that v4 itself answered until it was reversed[/]",
            highlight=False,
        )
        console.print(
            f"{told.written} orders were acknowledged through it all; the database has {told.orders}.",
            highlight=False,
        )
    console.print()
    for fault in told.faults:
        console.print("[bold red]✗[/]", end=" ")
        console.print(fault, highlight=False, markup=False)
    if not told.faults:
        console.print(f"[bold green]✓ everything went as it must[/], in {took_s:.0f} s", highlight=False)


def _columns(report: Report) -> Iterator[tuple[str, str]]:
    yield "event", "all"
    yield "outcome", ""
    counts = (report.requests, report.failed, sum(report.bad_answers.values()))
    yield from zip(COUNTS, map(str, counts), strict=True)
    yield "switch", ""
    yield "rollback", ""


def _windows(told: Told) -> Iterator[tuple[Outcome, Report]]:
    """Each act with what was sent from the end of the act before it to its own end, so that the rows add up."""
    starts = [0.0, *(outcome.ended for outcome in told.outcomes[:-1])]
    ends = [*(outcome.ended for outcome in told.outcomes[:-1]), float("inf")]
    for outcome, start, end in zip(told.outcomes, starts, ends, strict=True):
        yield outcome, told.report.between(start, end)


def _row(outcome: Outcome, seen: Report | None) -> dict[str, str]:
    """One act by column. The first has no counts: nobody visited before it."""
    document = outcome.document
    state = str(document.get("state"))
    style = "red" if outcome.faults else "green" if state == "succeeded" else "yellow"
    counts = [NONE] * len(COUNTS)
    if seen is not None:
        bad = sum(seen.bad_answers.values())
        counts = [str(seen.requests), _alarm(seen.failed), str(bad)]
    return {
        "event": outcome.act.title,
        "outcome": f"[{style}]{ENDS.get(state, state)}[/]",
        **dict(zip(COUNTS, counts, strict=True)),
        "switch": _time(document.get("switch_s")),
        "rollback": _time(document.get("rollback_s")),
    }


def _alarm(count: int) -> str:
    return f"[bold red]{count}[/]" if count else "[green]0[/]"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return NONE
    return f"{seconds * 1000:.1f} ms" if seconds < 0.0095 else format_duration(seconds)
