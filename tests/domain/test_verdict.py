"""Hard triggers: each just under, at and over its limit, and silent without cause."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backstay.domain.policy import Triggers
from backstay.domain.verdict import Observation, Traffic, hard_trigger, trailing_failures

LIMITS = Triggers()
GOOD, BAD = True, False
QUIET = Observation({}, (), {}, (), now_s=60.0, old=Traffic(), new=Traffic())


def fired(limits: Triggers = LIMITS, **seen: Any) -> str | None:
    trigger = hard_trigger(replace(QUIET, **seen), limits)
    return trigger.name if trigger else None


def told(**seen: Any) -> str:
    trigger = hard_trigger(replace(QUIET, **seen), LIMITS)
    assert trigger is not None
    return trigger.reason


def test_nothing_seen_is_no_reason() -> None:
    assert fired() is None


@pytest.mark.parametrize(("results", "count"), [
    ((), 0), ((GOOD,), 0), ((BAD,), 1), ((BAD, GOOD), 0), ((GOOD, BAD, BAD), 2), ((BAD, BAD, GOOD, BAD), 1),
])  # fmt: skip
def test_failures_in_a_row(results: tuple[bool, ...], count: int) -> None:
    assert trailing_failures(results) == count


@pytest.mark.parametrize(("results", "name"), [
    ((BAD, BAD), None), ((BAD, BAD, BAD), "health"), ((GOOD, BAD, BAD, BAD, BAD), "health"),
    ((BAD, BAD, BAD, GOOD), None), ((BAD, BAD, GOOD, BAD, BAD), None),
])  # fmt: skip
def test_failed_probes(results: tuple[bool, ...], name: str | None) -> None:
    assert fired(probes={"frontend": (GOOD,) * 9, "backend": results}) == name


def test_failed_probes_of_two_components_do_not_add_up() -> None:
    assert fired(probes={"frontend": (BAD, BAD), "backend": (BAD, BAD)}) is None


@pytest.mark.parametrize(("results", "name"), [
    ((BAD,), None), ((BAD, BAD), "smoke"), ((BAD, BAD, BAD), "smoke"), ((BAD, GOOD, BAD), None),
])  # fmt: skip
def test_failed_smokes(results: tuple[bool, ...], name: str | None) -> None:
    assert fired(smokes=results) == name


def test_one_death_of_what_cannot_restart() -> None:
    assert fired(deaths=("worker",)) == "death"
    assert told(deaths=("worker",)) == "worker died and cannot restart"


@pytest.mark.parametrize(("times", "now_s", "name"), [
    ((1.0, 2.0), 60.0, None),
    ((1.0, 2.0, 3.0), 60.0, "restarts"),
    ((1.0, 2.0, 3.0), 301.0, "restarts"),
    ((1.0, 2.0, 3.0), 301.1, None),
    ((1.0, 200.0, 300.0, 400.0), 450.0, "restarts"),
])  # fmt: skip
def test_restarts_within_the_window(times: tuple[float, ...], now_s: float, name: str | None) -> None:
    assert fired(restarts={"backend": times}, now_s=now_s) == name


def test_restarts_of_two_components_do_not_add_up() -> None:
    assert fired(restarts={"backend": (1.0, 2.0), "frontend": (1.0, 2.0)}) is None


SHARES = [
    (Traffic(20, 1), Traffic(), None),
    (Traffic(20, 2), Traffic(), "errors"),
    (Traffic(100, 5), Traffic(), None),
    (Traffic(100, 6), Traffic(), "errors"),
    (Traffic(100, 15), Traffic(100, 10), None),
    (Traffic(100, 16), Traffic(100, 10), "errors"),
    (Traffic(100, 56), Traffic(100, 51), None),
    (Traffic(100, 57), Traffic(100, 51), "errors"),
    (Traffic(100, 100), Traffic(100, 100), None),
    (Traffic(19, 19), Traffic(), None),
    (Traffic(20, 20), Traffic(), "errors"),
    (Traffic(), Traffic(100, 0), None),
]


@pytest.mark.parametrize(("new", "old", "name"), SHARES)
def test_answers_with_5xx(new: Traffic, old: Traffic, name: str | None) -> None:
    assert fired(new=new, old=old) == name


@pytest.mark.parametrize(("new", "old", "name"), SHARES)
def test_slow_answers(new: Traffic, old: Traffic, name: str | None) -> None:
    slow_new, slow_old = (Traffic(t.requests, 0, t.errors) for t in (new, old))
    assert fired(new=slow_new, old=slow_old) == ("slow" if name else None)


def test_the_limits_are_those_of_the_policy() -> None:
    lax = Triggers(
        failed_probes=5, failed_smokes=4, restarts=9, error_points=0.5, slow_points=0.5, least_requests=1000
    )
    assert fired(lax, probes={"backend": (BAD,) * 4}) is None
    assert fired(lax, smokes=(BAD,) * 3) is None
    assert fired(lax, restarts={"backend": (1.0,) * 9}) is None
    assert fired(lax, new=Traffic(999, 999, 999)) is None
    assert fired(lax, new=Traffic(1000, 501)) == "errors"


def test_reasons_have_the_numbers() -> None:
    assert told(probes={"backend": (BAD,) * 3}) == "backend failed 3 health probes in a row"
    assert told(smokes=(BAD,) * 2) == "the public smoke test failed 2 times in a row"
    assert told(restarts={"backend": (1.0, 2.0, 3.0)}) == "backend restarted 3 times within 5 min"
    assert told(new=Traffic(40, 10), old=Traffic(200, 1)) == (
        "25.0% of 40 answers were 5xx (old slot: 0.5%); the limit is 5 points more"
    )
    assert told(new=Traffic(40, 0, 10), old=Traffic(200, 0, 1)) == (
        "25.0% of 40 answers took longer than 2 s (old slot: 0.5%); the limit is 5 points more"
    )


TRAFFIC = st.integers(0, 400).flatmap(
    lambda n: st.builds(Traffic, st.just(n), st.integers(0, n), st.integers(0, n))
)


@given(TRAFFIC, st.integers(1, 20))
def test_equal_shares_never_fire(old: Traffic, times: int) -> None:
    new = Traffic(old.requests * times, old.errors * times, old.slow * times)
    assert fired(new=new, old=old) is None


@given(TRAFFIC, TRAFFIC)
@example(Traffic(100, 56), Traffic(100, 51))
def test_more_than_five_points_means_more(new: Traffic, old: Traffic) -> None:
    def share(part: int, whole: int) -> Fraction:
        return Fraction(part, whole) if whole else Fraction(0)

    five = Fraction(5, 100)
    errors = share(new.errors, new.requests) - share(old.errors, old.requests) > five
    slow = share(new.slow, new.requests) - share(old.slow, old.requests) > five
    expected = ("errors" if errors else "slow" if slow else None) if new.requests >= 20 else None
    assert fired(new=new, old=old) == expected


@given(st.lists(TRAFFIC))
def test_windows_add_up(parts: list[Traffic]) -> None:
    total = sum(parts, Traffic())
    assert total.requests == sum(p.requests for p in parts)
    assert (total.errors, total.slow) == (sum(p.errors for p in parts), sum(p.slow for p in parts))
    assert 0 <= total.error_share() <= 1 and 0 <= total.slow_share() <= 1
