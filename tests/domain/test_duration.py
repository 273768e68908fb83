"""Durations as people write and read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.domain.duration import UNITS_S, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30.0),
        ("10m", 600.0),
        ("2h", 7200.0),
        ("1.5s", 1.5),
        (" 30 s ", 30.0),
        ("0s", 0.0),
    ],
)
def test_reads_what_people_write(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "30", "s", "-1s", "1d", "1 min", "1h30m", "1.s", ".5s", "1e3s", "infs", "30S", "1,5s", "10s; rm"],
)
def test_refuses_anything_else_and_says_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="500ms, 30s, 10m or 2h") as refused:
        parse_duration(text)
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ms"),
        (0.0044, "4 ms"),
        (0.9994, "999 ms"),
        (0.9995, "1.0 s"),
        (1.26, "1.3 s"),
        (59.94, "59.9 s"),
        (59.95, "1 min 00 s"),
        (125.0, "2 min 05 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (3720.0, "1 h 02 min"),
        (90000.0, "25 h 00 min"),
    ],
)
def test_shows_what_people_read(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, 10**6), st.sampled_from(sorted(UNITS_S)))
def test_whole_numbers_of_every_unit_are_exact(number: int, unit: str) -> None:
    assert parse_duration(f"{number}{unit}") == number * UNITS_S[unit]


@given(st.floats(0, 10**6))
def test_no_part_ever_reaches_its_next_unit(seconds: float) -> None:
    shown = format_duration(seconds)
    parts = shown.split()
    limits = {"ms": 1000, "s": 60, "min": 60}
    for number, unit in zip(parts[::2], parts[1::2], strict=True):
        assert float(number) < limits.get(unit, float("inf")), shown
