"""Sizes as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.domain.size import format_bytes


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.00 kB"),
        (7750, "7.75 kB"),
        (22_775_260, "22.8 MB"),
        (390_806_887, "391 MB"),
        (999_600, "1.00 MB"),
        (9_996_000, "10.0 MB"),
        (5_000_000_000_000, "5.00 TB"),
        (5_000_000_000_000_000, "5000 TB"),
    ],
)
def test_three_digits_and_a_unit(count: int, text: str) -> None:
    assert format_bytes(count) == text


@given(st.integers(0, 10**14), st.integers(0, 10**14))
def test_more_never_looks_like_less(one: int, two: int) -> None:
    units = {"bytes": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}

    def back(count: int) -> float:
        number, unit = format_bytes(count).split()
        return float(number) * units[unit]

    assert (back(one) <= back(two)) or one > two
