"""The judgement over one answer: every kind of fault, and what passes."""

from __future__ import annotations

from typing import Any

import pytest

from backstay.domain.smoke import Answer, Expectation, SmokeTest, fault_of

OK = Answer(200, {"content-type": "application/json; charset=utf-8"}, b'{"database": "connected"}', 0.2)


def judged(answer: Answer, found: dict[str, Any] | None = None, **expect: Any) -> str | None:
    test = SmokeTest("api root", "/api/v1/", expect=Expectation(**expect))
    return fault_of(test, answer, found or {})


@pytest.mark.parametrize(("status", "healthy"), [
    (100, False), (199, False), (200, True), (204, True), (301, True), (399, True), (400, False),
    (404, False), (500, False), (503, False), (0, False),
])  # fmt: skip
def test_without_an_expectation_200_to_399_pass(status: int, healthy: bool) -> None:
    assert Answer(status).is_healthy == healthy
    assert judged(Answer(status)) == (None if healthy else f"answered {status}")


def test_no_answer_is_the_fault_itself_whatever_was_expected() -> None:
    silent = Answer(error="nothing listens on 127.0.0.1:80")
    assert not silent.is_healthy
    assert judged(silent, status=200, body="x") == "nothing listens on 127.0.0.1:80"
    assert not Answer(200, error="cut off").is_healthy


@pytest.mark.parametrize(("status", "expected", "fault"), [
    (200, 200, None),
    (404, 404, None),
    (500, 500, None),
    (200, 201, "answered 200, expected 201"),
    (302, 200, "answered 302, expected 200"),
])  # fmt: skip
def test_status(status: int, expected: int, fault: str | None) -> None:
    assert judged(Answer(status), status=expected) == fault


@pytest.mark.parametrize(("header", "fault"), [
    ({"content-type": "json"}, None),
    ({"Content-Type": "JSON"}, None),
    ({"content-type": "html"}, "header content-type is 'application/json; charset=utf-8', "
                               "expected it to contain 'html'"),
    ({"X-Frame-Options": "DENY"}, "header X-Frame-Options is None, expected it to contain 'DENY'"),
])  # fmt: skip
def test_headers_contain_the_expected_text_in_any_case(header: dict[str, str], fault: str | None) -> None:
    assert judged(OK, header=header) == fault


@pytest.mark.parametrize(("found", "fault"), [
    ({"$.database": "connected"}, None),
    ({"$.database": "down"}, "JSON at $.database is 'down', expected 'connected'"),
    ({"$.database": None}, "JSON at $.database is None, expected 'connected'"),
    ({}, "JSON has nothing at $.database, expected 'connected'"),
])  # fmt: skip
def test_values_in_json(found: dict[str, Any], fault: str | None) -> None:
    assert judged(OK, found, json={"$.database": "connected"}) == fault


def test_an_expected_null_must_be_there() -> None:
    assert judged(OK, {"$.error": None}, json={"$.error": None}) is None
    assert judged(OK, {}, json={"$.error": None}) == "JSON has nothing at $.error, expected None"


def test_body() -> None:
    page = Answer(200, body="<title>Tür</title>".encode())
    assert judged(page, body="Tür") is None
    assert judged(page, body="tür") == "body does not contain 'tür'"


@pytest.mark.parametrize(("took_s", "fault"), [
    (1.99, None), (2.0, None), (2.04, "answered in 2.0 s, expected under 2 s"),
    (7.5, "answered in 7.5 s, expected under 2 s"),
])  # fmt: skip
def test_time(took_s: float, fault: str | None) -> None:
    assert judged(Answer(200, took_s=took_s), under_s=2.0) == fault


def test_the_plainest_fault_is_told_first() -> None:
    bad = Answer(500, {}, b"", 9.0)
    wanted: dict[str, Any] = {
        "status": 200, "header": {"a": "b"}, "json": {"$.x": 1}, "body": "y", "under_s": 1.0,
    }  # fmt: skip
    told = []
    while (fault := judged(bad, **wanted)) is not None:
        told.append(fault.split()[0])
        wanted.pop(next(iter(wanted)))
        if "status" not in wanted:
            bad = Answer(200, {}, b"", 9.0)
    assert told == ["answered", "header", "JSON", "body", "answered"]


def test_json_true_is_not_the_number_one() -> None:
    test = SmokeTest("flag", "/", expect=Expectation(json={"$.on": True}))
    assert fault_of(test, Answer(200), {"$.on": 1}) is not None
    assert fault_of(test, Answer(200), {"$.on": True}) is None
