"""A measured figure, its bar, and the table people read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True)
class Beside:
    """The same quantity measured on something else, in the unit of the figure it stands beside."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. `at_most` and `at_least` are the bars it has to keep; without one it only informs.

    `spread` says in words how the single measurements lay.
    """

    name: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    beside: Beside | None = None
    spread: str = ""

    @property
    def kept(self) -> bool:
        """Whether every bar is kept; a value that could not be measured (NaN) keeps none."""
        if self.at_most is not None and not self.value <= self.at_most:
            return False
        return self.at_least is None or self.value >= self.at_least

    @property
    def judged(self) -> bool:
        return self.at_most is not None or self.at_least is not None

    @property
    def ratio(self) -> float | None:
        """How many times the figure beside it this one is; None without one."""
        if self.beside is None or not self.beside.value:
            return None
        return self.value / self.beside.value


@dataclass(frozen=True, slots=True)
class Result:
    """What one bench found."""

    title: str
    figures: Sequence[Figure]
    notes: Sequence[str] = field(default=())

    @property
    def missed(self) -> list[Figure]:
        return [figure for figure in self.figures if figure.judged and not figure.kept]


def middle(name: str, values: Sequence[float], unit: str = "s", **bars: float | Beside | None) -> Figure:
    """The median of several measurements, with their range in words."""
    if not values:
        return Figure(name, math.nan, unit, spread="nothing was measured", **bars)  # type: ignore[arg-type]
    spread = f"median of {len(values)}: {_number(min(values))} … {_number(max(values))}"
    return Figure(name, median(values), unit, spread=spread, **bars)  # type: ignore[arg-type]


def table(result: Result) -> str:
    """The result as aligned lines."""
    rows = [("", "measured", "bar", "", "beside it", "ratio", "")]
    rows += [_row(figure) for figure in result.figures]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [f"== {result.title}"]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join([*lines, *(f"  · {note}" for note in result.notes)])


def _row(figure: Figure) -> tuple[str, str, str, str, str, str, str]:
    bars = []
    if figure.at_most is not None:
        bars.append(f"≤ {_number(figure.at_most)}")
    if figure.at_least is not None:
        bars.append(f"≥ {_number(figure.at_least)}")
    verdict = ("kept" if figure.kept else "MISSED") if figure.judged else ""
    beside = f"{figure.beside.name} {_number(figure.beside.value)}" if figure.beside else ""
    ratio = "" if figure.ratio is None else f"{_number(figure.ratio)}×"
    measured = f"{_number(figure.value)} {figure.unit}".rstrip()
    return (figure.name, measured, " and ".join(bars), verdict, beside, ratio, figure.spread)


def _number(value: float) -> str:
    """Three significant digits; whole numbers whole."""
    if math.isnan(value):
        return "none"
    if value == int(value):
        return f"{int(value):,}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
