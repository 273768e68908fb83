"""The round of smoke tests: everything at once, each request once, one deadline, and by policy in a deployment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from backstay.adapters.clock import SystemClock
from backstay.domain.policy import BUILT_IN, Level
from backstay.domain.smoke import Answer, Finding, SmokeTest
from backstay.pipeline.smoke import Ask, Patience, Question, all_at_once, smoke
from tests.pipeline.conftest import Town


def question(number: int, path: str = "") -> Question:
    def judge(answers: Sequence[Answer], ask: Ask) -> Finding:
        return Finding(answers[0].is_healthy, answers[0].error or f"{answers[0].status}")

    return Question(f"test {number}", (SmokeTest("", path or f"/{number}"),), judge)


def run(questions: Sequence[Question], ask: Ask, patience: Patience) -> tuple[list[bool], float]:
    began = time.monotonic()
    results = smoke(questions, ask, patience, SystemClock(), time.sleep)
    return [r.ok for r in results], time.monotonic() - began


def test_twenty_tests_take_as_long_as_the_slowest() -> None:
    def ask(test: SmokeTest) -> Answer:
        time.sleep(2.0 if test.path == "/7" else 0.02)
        return Answer(200)

    passed, took = run([question(n) for n in range(20)], ask, Patience(30.0))
    assert all(passed) and 2.0 <= took <= 2.5


def test_equal_requests_are_sent_once() -> None:
    asked = []

    def ask(test: SmokeTest) -> Answer:
        asked.append(test.path)
        return Answer(200)

    run([question(1, "/"), question(2, "/"), question(3)], ask, Patience(5.0))
    assert sorted(asked) == ["/", "/3"]


def test_what_hangs_is_left_at_the_deadline_and_fails() -> None:
    def ask(test: SmokeTest) -> Answer:
        if test.path == "/1":
            time.sleep(5)  # deaf to its own deadline, as a name server may be
        return Answer(200)

    passed, took = run([question(1), question(2)], ask, Patience(0.3))
    assert passed == [False, True] and took < 1.0


def test_a_bug_in_a_job_is_raised_where_somebody_waits() -> None:
    with pytest.raises(ZeroDivisionError):
        all_at_once({1: lambda: 1 // 0}, 1.0, 4)


def told(town: Town, step: str) -> dict[str, str]:
    """Id to "pass" or severity of everything a smoke step of the first deployment told."""
    events = [e for e in town.store.events("d1") if e.kind == "smoke_done" and e.step == step]
    return {e.message.partition(":")[0]: "pass" if e.data["ok"] else e.data["severity"] for e in events}


def test_the_essential_set(town: Town) -> None:
    town.deploy("v1")
    essential = {"frontend", "backend health", "frontend health", "api"}
    assert set(told(town, "smoke")) == set(told(town, "public-smoke")) == essential


def test_the_full_set(town: Town) -> None:
    town.policy = replace(BUILT_IN[Level.STANDARD], bake_s=1.0)
    assert town.deploy("v1").state == "succeeded"
    full = {"frontend", "backend health", "frontend health", "api", "response time", "database", "containers"}
    assert set(told(town, "smoke")) == set(told(town, "public-smoke")) == full
    assert told(town, "smoke")["database"] == "notice"
    assert told(town, "smoke")["containers"] == "pass"


@pytest.mark.parametrize(("answer", "level", "failing"), [
    (Answer(200, took_s=2.5), Level.BASIC, None),
    (Answer(200, took_s=2.5), Level.STANDARD, "response time"),
    (Answer(200, {}, b'{"database": "down"}'), Level.STANDARD, "database"),
    (Answer(200, {"content-type": "text/html"}, b" "), Level.BASIC, "frontend"),
])  # fmt: skip
def test_a_slot_that_fails_a_wanted_kind_never_gets_traffic(
    town: Town, answer: Answer, level: Level, failing: str | None
) -> None:
    town.policy = replace(BUILT_IN[level], bake_s=1.0)
    town.prober.answer = lambda port, path: answer
    ended = town.deploy("v1")
    assert (ended.failed_step, town.router.live is None) == (("smoke", True) if failing else (None, False))
    assert failing is None or f"{failing}: " in (ended.reason or "")
