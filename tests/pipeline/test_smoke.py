"""The round of smoke tests: everything at once, each request once, one deadline, and by policy in a deployment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from backstay.adapters.clock import SystemClock
from backstay.domain.policy import BUILT_IN, Level, SmokeSet, Trial
from backstay.domain.release import Health
from backstay.domain.smoke import Answer, Finding, SmokeTest
from backstay.pipeline.questions import cors_request
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
        time.sleep(2.0 if test.path == "/7" else 0.2)
        return Answer(200)

    passed, took = run([question(n) for n in range(20)], ask, Patience(30.0))
    assert all(passed) and 2.0 <= took <= 4


def test_equal_requests_are_sent_once() -> None:
    asked = []

    def ask(test: SmokeTest) -> Answer:
        asked.append(test.path)
        return Answer(200)

    run([question(1, "/"), question(2, "/"), question(3)], ask, Patience(5.0))
    assert sorted(asked) == ["/", "/3"]


def test_a_preflight_has_one_origin_whatever_the_health_path_wants() -> None:
    test = SmokeTest("", "/", headers={"origin": "https://a.example", "host": "localhost"})
    asked = cors_request(test, "OPTIONS", "https://b.example").headers
    assert asked == {
        "host": "localhost",
        "Origin": "https://b.example",
        "Access-Control-Request-Method": "GET",
    }


def test_what_hangs_is_left_at_the_deadline_and_fails() -> None:
    def ask(test: SmokeTest) -> Answer:
        if test.path == "/1":
            time.sleep(5)  # deaf to its own deadline, as a name server may be
        return Answer(200)

    passed, took = run([question(1), question(2)], ask, Patience(0.3))
    assert passed == [False, True] and took < 4


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
    town.policy = replace(BUILT_IN[level], bake_s=1.0, rehearsal=Trial.OFF)
    town.prober.answer = lambda port, path: answer
    ended = town.deploy("v1")
    assert (ended.failed_step, town.router.live is None) == (("smoke", True) if failing else (None, False))
    assert failing is None or f"{failing}: " in (ended.reason or "")


def test_a_test_named_like_a_built_in_one_hides_nothing(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = town.environment
    mine = replace(plain, smoke=(SmokeTest("api", "/api/mine/"),))
    monkeypatch.setattr(Town, "environment", property(lambda self: mine))
    town.prober.answer = lambda port, path: Answer(500 if path == "/api/" else 200)
    ended = town.deploy("v1")
    assert ended.failed_step == "smoke" and "api: /api/ answered 500" in (ended.reason or "")
    assert told(town, "smoke")["api (own)"] == "pass"


def test_equal_names_are_two_results() -> None:
    def ask(test: SmokeTest) -> Answer:
        return Answer(500 if test.path == "/bad" else 200)

    same = [question(1, "/bad"), question(1, "/good")]
    assert run(same, ask, Patience(5.0, tries=1))[0] == [False, True]


def test_an_ill_engine_stops_no_warm_rollback(town: Town) -> None:
    town.policy = replace(BUILT_IN[Level.BASIC], bake_s=1.0, smoke=SmokeSet.FULL)
    town.deploy("v1")
    town.deploy("v2")
    town.engine.down = True
    assert town.rollback().state == "succeeded"


def test_a_page_where_the_api_might_be_is_told_and_stops_nothing(town: Town) -> None:
    """It may be the API's documentation; the health path, which is below, has shown that the component answers."""
    page = Answer(200, {"content-type": "text/html"}, b"<title>Shop</title>")
    town.prober.answer = lambda port, path: page
    ended = town.deploy("v1")
    assert ended.exit_status == 0
    told = [
        e for e in town.store.events(ended.id) if e.kind == "smoke_done" and e.message.startswith("api: ")
    ]
    assert told and {e.data["severity"] for e in told} == {"warning"}
    assert all("answered 200, but no JSON" in e.message for e in told)


def test_a_frontend_without_its_page_stops_a_release_whatever_its_health_path(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = town.application
    own = replace(plain.components["frontend"], health=Health("/up"))
    mine = replace(plain, components={**plain.components, "frontend": own})
    monkeypatch.setattr(Town, "application", property(lambda self: mine))
    town.prober.answer = lambda port, path: Answer(404 if path == "/" else 200)
    ended = town.deploy("v1")
    assert ended.failed_step == "smoke" and "/ answered 404" in (ended.reason or "")
