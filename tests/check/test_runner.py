"""The runner: all at once, each with a deadline of its own, and nobody waits for one that hangs."""

from __future__ import annotations

import random
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backstay.adapters.clock import SystemClock
from backstay.domain.check import Severity
from backstay.errors import EngineError
from backstay.pipeline.check import Check, Finding, NotChecked, run_checks

CLOCK = SystemClock()


def sleeping(id_: str, seconds: float, deadline_s: float = 10.0) -> Check:
    def look() -> Finding:
        time.sleep(seconds)
        return Finding(f"slept {seconds}")

    return Check(id_, look, deadline_s)


def raising(error: Exception) -> Check:
    def look() -> Finding:
        raise error

    return Check("bad", look)


def plain(text: str) -> str:
    return text


@settings(max_examples=8, deadline=None)
@given(st.lists(st.floats(0.0, 0.3), min_size=1, max_size=20))
def test_all_take_little_more_than_the_slowest(durations: list[float]) -> None:
    slowest = max([*durations, 1.0])
    checks = [sleeping("slowest", slowest), *(sleeping(f"c{n}", s) for n, s in enumerate(durations))]
    began = time.monotonic()
    results = run_checks(checks, CLOCK, plain)
    took = time.monotonic() - began
    assert [r.id for r in results] == [c.id for c in checks]
    assert all(r.ok for r in results)
    assert took <= 1.3 * max(r.took_s for r in results)


def test_one_that_hangs_is_reported_at_its_deadline_while_the_others_report() -> None:
    released = threading.Event()

    def hang() -> Finding:
        released.wait(30)
        return Finding("too late")

    checks = [Check("hung", hang, 1.5, "look at it"), sleeping("quick", 0.0), sleeping("slow", 0.8)]
    began = time.monotonic()
    hung, quick, slow = run_checks(checks, CLOCK, plain)
    took = time.monotonic() - began
    released.set()
    assert (hung.ok, hung.severity, hung.hint) == (False, "error", "look at it")
    assert hung.detail == "no outcome within 1.5 s"
    assert quick.ok and slow.ok and quick.took_s < 0.8
    assert 1.5 <= took < 2.25


def test_several_that_hang_cost_the_longest_deadline_and_not_the_sum() -> None:
    checks = [sleeping(f"h{n}", 10.0, deadline_s=0.5 + 0.25 * n) for n in range(5)]
    random.Random(4).shuffle(checks)
    began = time.monotonic()
    results = run_checks(checks, CLOCK, plain)
    assert not any(r.ok for r in results)
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("error", "ok", "severity", "detail"),
    [
        (EngineError("it is down"), False, "error", "it is down"),
        (NotChecked("no database"), True, "notice", "not checked: no database"),
        (KeyError("x"), False, "error", "the check itself failed (KeyError: 'x')"),
    ],
)
def test_what_is_raised_is_told_and_keeps_nobody_from_reporting(
    error: Exception, ok: bool, severity: str, detail: str
) -> None:
    bad, good = run_checks([raising(error), sleeping("good", 0.0)], CLOCK, plain)
    assert (bad.ok, bad.severity, bad.detail) == (ok, severity, detail)
    assert good.ok


def test_secrets_are_taken_out_of_details_and_hints() -> None:
    def look() -> Finding:
        return Finding("password hunter2 is wrong", Severity.WARNING, "change hunter2")

    (found,) = run_checks([Check("x", look)], CLOCK, lambda text: text.replace("hunter2", "[redacted]"))
    assert (found.detail, found.hint) == ("password [redacted] is wrong", "change [redacted]")
    assert not found.ok


def test_no_checks_no_results() -> None:
    assert run_checks([], CLOCK, plain) == []
