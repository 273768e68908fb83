"""systemd units: a cron expression in the words of OnCalendar, and the files of a host that runs no daemon, or one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

DAYS: Final = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAY_NAMES: Final = {day.upper(): number for number, day in enumerate(DAYS)}
_MONTH_NAMES: Final = {month: number for number, month in enumerate(MONTHS, start=1)}


def on_calendar(cron: str) -> tuple[str, ...]:
    """The OnCalendar lines that fire when a valid cron expression of five fields does, in UTC.

    Where cron names days of the month and of the week it means either, which takes two lines. Raises ValueError for
    what OnCalendar cannot say (`L`, `W`, `#`).
    """
    minute, hour, day, month, weekday = cron.upper().split()
    time = f"{_field(hour, 0, 23)}:{_field(minute, 0, 59)}:00 UTC"
    months = _field(month, 1, 12, _MONTH_NAMES)
    by_day = f"*-{months}-{_field(day, 1, 31)} {time}"
    if weekday == "*":
        return (by_day,)
    by_weekday = f"{_weekdays(weekday)} *-{months}-* {time}"
    return (by_weekday,) if day == "*" else (by_day, by_weekday)


def _field(text: str, low: int, high: int, names: Mapping[str, int] | None = None) -> str:
    """A list of numbers, ranges and steps; `*` for all."""
    return "*" if text == "*" else ",".join(f"{n:02d}" for n in _numbers(text, low, high, names or {}))


def _weekdays(text: str) -> str:
    # 7 is Sunday too.
    days = sorted({number % 7 for number in _numbers(text, 0, 7, _DAY_NAMES)})
    return ",".join(DAYS[day] for day in days)


def _numbers(text: str, low: int, high: int, names: Mapping[str, int]) -> list[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            begin, end = low, high
        else:
            begin = _number(first, names)
            end = _number(last, names) if dash else (high if step else begin)
        found.update(range(begin, end + 1, int(step) if step else 1))
    return sorted(found)


def _number(text: str, names: Mapping[str, int]) -> int:
    if text in names:
        return names[text]
    if not text.isdigit():
        raise ValueError(f"OnCalendar cannot say {text!r}")
    return int(text)


def timer(template: str, what: str, cron: str, every_s: float | None = None) -> str:
    """A timer from its template: when cron fires, also when the machine slept then, and `every_s` seconds after the
    last run besides."""
    lines = [f"OnCalendar={line}" for line in on_calendar(cron)]
    if every_s is not None:
        lines += ["OnBootSec=5min", f"OnUnitActiveSec={every_s:.0f}s"]
    return filled(template, {"WHAT": what, "WHEN": "\n".join(lines)})


def filled(template: str, words: Mapping[str, str]) -> str:
    """A template with each `@WORD@` replaced."""
    for word, value in words.items():
        template = template.replace(f"@{word}@", value)
    return template


def quoted(words: Sequence[str]) -> str:
    """A command line as systemd reads it: a word with blanks or quotes in quotes, `%` and `$` doubled."""
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    safe = word.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$")
    return '"' + safe.replace('"', '\\"') + '"' if any(c in word for c in " \t\"'\\;") else safe
