"""Each kind passes for a good answer, fails for a bad one, and never passes for one that tells nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backstay.domain.kinds import (
    DAY_S,
    FOREIGN_ORIGIN,
    ContainerState,
    judge_api,
    judge_containers,
    judge_cors,
    judge_database,
    judge_frontend,
    judge_health,
    judge_times,
    judge_tls,
    see_cors,
)
from backstay.domain.smoke import Answer, Certificate, CheckResult, Finding, failures

HTML = {"content-type": "text/html; charset=utf-8"}
JSON = {"content-type": "application/json"}
SILENT = Answer(error="nothing listens on 127.0.0.1:80")
ORIGIN = "https://www.example"


def state(found: Finding) -> str:
    return "pass" if found.ok else found.severity


@pytest.mark.parametrize(("answer", "expected", "told"), [
    (Answer(200, HTML, b"<title>Shop</title>", 0.01), "pass", "19 bytes of HTML in 10 ms"),
    (Answer(200, HTML, b" \n"), "error", "/ answered an empty page"),
    (Answer(200, JSON, b"{}", 0.01), "pass", "2 bytes of application/json, no HTML page, in 10 ms"),
    (Answer(200, {}, b"x", 0.01), "pass", "1 bytes of unknown type, no HTML page, in 10 ms"),
    (Answer(401, HTML, b"x", 0.01), "pass", "it wants a login"),
    (Answer(302, {"location": "https://elsewhere/"}), "error", "/ redirects to https://elsewhere/"),
    (Answer(404, HTML, b"x"), "error", "/ answered 404, expected 200"),
    (Answer(502, HTML, b"x"), "error", "/ answered 502, expected 200"),
    (SILENT, "error", "nothing listens on 127.0.0.1:80"),
])  # fmt: skip
def test_frontend(answer: Answer, expected: str, told: str) -> None:
    found = judge_frontend(answer)
    assert state(found) == expected and told in found.detail


@pytest.mark.parametrize(("answer", "expected"), [
    (Answer(200), "pass"), (Answer(204), "pass"), (Answer(404), "error"), (Answer(503), "error"), (SILENT, "error"),
])  # fmt: skip
def test_health(answer: Answer, expected: str) -> None:
    assert state(judge_health(answer)) == expected


@pytest.mark.parametrize(("answer", "guessed", "named"), [
    (Answer(200, body=b"[]"), "pass", "pass"),
    (Answer(401, body=b'{"detail": "log in"}'), "pass", "pass"),
    (Answer(401, HTML, b"<h1>no</h1>"), "notice", "error"),
    (Answer(200, HTML, b"<title>Shop</title>"), "warning", "error"),
    (Answer(400, HTML, b"<h1>Bad Request"), "warning", "error"),
    (Answer(404, body=b"{}"), "notice", "error"),
    (Answer(500, body=b"{}"), "error", "error"),
    (SILENT, "error", "error"),
])  # fmt: skip
def test_api(answer: Answer, guessed: str, named: str) -> None:
    assert state(judge_api("/api/", answer, named=False)) == guessed
    assert state(judge_api("/api/", answer, named=True)) == named


@pytest.mark.parametrize(("took", "expected", "told"), [
    ((0.01, 0.02), "pass", "slowest of 2: /1 took 20 ms"),
    ((0.01, 1.99), "pass", "/1 took 1.99 s"),
    ((2.0, 0.01), "error", "/0 took 2.00 s, expected under 2 s"),
    ((0.01, 9.5), "error", "/1 took 9.50 s, expected under 2 s"),
])  # fmt: skip
def test_a_slow_answer_fails_however_right_it_is(took: tuple[float, ...], expected: str, told: str) -> None:
    found = judge_times({f"/{n}": Answer(200, took_s=s) for n, s in enumerate(took)})
    assert state(found) == expected and told in found.detail


def test_silence_is_not_quick() -> None:
    assert state(judge_times({"/": SILENT})) == "error"
    assert judge_times({"/": Answer(200), "/api/": SILENT}).detail == "no answer from /api/"


@pytest.mark.parametrize(("body", "expected"), [
    ({"database": "connected"}, "pass"),
    ({"db": True}, "pass"),
    ({"components": {"db": {"status": "UP"}}}, "pass"),
    ({"checks": [{"name": "database", "status": "ok"}]}, "pass"),
    ({"DatabaseBackend": "working"}, "pass"),
    ({"database": {"default": "ok", "replica": "ok"}}, "notice"),
    ({"database": "unavailable"}, "error"),
    ({"database": "not connected"}, "error"),
    ({"db": False}, "error"),
    ({"components": {"db": {"status": "DOWN"}}}, "error"),
    ({"checks": [{"name": "database", "status": "fail"}, {"name": "cache", "status": "ok"}]}, "error"),
    ({"database": "ok", "postgres_replica": "down"}, "error"),
    ({"status": "ok"}, "notice"),
    ({"database": "shop_prod"}, "notice"),
    ({"database_ms": 3}, "notice"),
    ({"cache": "connected"}, "notice"),
    ([], "notice"),
    ("database connected", "notice"),
])  # fmt: skip
def test_database(body: Any, expected: str) -> None:
    answer = Answer(200, body=json.dumps(body).encode())
    assert state(judge_database({"/health": answer}, configured=True)) == expected


def test_a_database_that_is_down_is_told_by_503_too() -> None:
    answer = Answer(503, body=b'{"database": "unavailable"}')
    found = judge_database({"/health": answer}, configured=True)
    assert (found.ok, found.detail) == (False, "/health says database is 'unavailable'")


def test_nothing_told_of_a_database_is_no_pass() -> None:
    page = Answer(200, HTML, b"<p>ok</p>")
    assert "not told" in judge_database({"/health": page}, configured=True).detail
    assert "does not apply" in judge_database({"/health": page}, configured=False).detail
    assert state(judge_database({"/health": SILENT}, configured=True)) == "error"


@pytest.mark.parametrize(("certificate", "expected", "told"), [
    (Certificate(expires_at=80 * DAY_S), "pass", "80 more days"),
    (Certificate(expires_at=21 * DAY_S), "pass", "21 more days"),
    (Certificate(expires_at=20.9 * DAY_S), "warning", "expires in 21 days"),
    (Certificate(expires_at=3 * DAY_S), "warning", "expires in 3 days"),
    (Certificate(expires_at=2.9 * DAY_S), "error", "expires in 2.9 days"),
    (Certificate(expires_at=-1.0), "error", "has expired"),
    (Certificate(fault="not trusted: self-signed certificate"), "error", "self-signed"),
    (Certificate(error="nothing listens on a:443"), "error", "nothing listens"),
    (Certificate(), "error", "no date of expiry"),
])  # fmt: skip
def test_tls(certificate: Certificate, expected: str, told: str) -> None:
    found = judge_tls(certificate, now=0.0)
    assert state(found) == expected and told in found.detail


def let_in(origin: str | None, credentials: bool = False, status: int = 200) -> Answer:
    headers = {} if origin is None else {"access-control-allow-origin": origin}
    return Answer(
        status, {**headers, **({"access-control-allow-credentials": "true"} if credentials else {})}
    )


def cors(
    own: Answer, foreign: Answer, preflight: Answer | None = None, origins: tuple[str, ...] = (ORIGIN,)
) -> str:
    answers = {
        ("OPTIONS", ORIGIN): preflight or own, ("GET", ORIGIN): own,
        ("OPTIONS", FOREIGN_ORIGIN): foreign, ("GET", FOREIGN_ORIGIN): foreign,
    }  # fmt: skip
    found = judge_cors(origins, answers)
    return "pass" if found.ok else found.detail


def test_cors_lets_in_whom_it_should_and_nobody_else() -> None:
    assert cors(let_in(ORIGIN), let_in(None)) == "pass"
    assert cors(let_in(ORIGIN, credentials=True), let_in(ORIGIN)) == "pass"
    assert cors(let_in("*"), let_in("*"), origins=(ORIGIN, "*")) == "pass"


def test_cors_fails_for_every_other_answer() -> None:
    assert cors(let_in(None), let_in(None)) == f"the preflight does not allow {ORIGIN} but no origin"
    assert cors(let_in("https://b.example"), let_in(None)).endswith("but https://b.example")
    assert cors(let_in(None), let_in(None), preflight=let_in(ORIGIN)).startswith("the answer does not allow")
    assert cors(let_in(ORIGIN), let_in(None), preflight=let_in(ORIGIN, status=405)).endswith("answered 405")
    assert cors(let_in("*"), let_in("*")) == "the preflight allows a foreign origin (*)"
    assert "foreign origin" in cors(let_in(ORIGIN), let_in(FOREIGN_ORIGIN))
    assert "together with credentials" in cors(let_in("*", credentials=True), let_in(None), origins=("*",))
    assert "nothing listens" in cors(SILENT, SILENT)


def test_cors_that_nobody_configured_is_told_but_never_passed() -> None:
    assert state(see_cors([let_in(None)])) == state(see_cors([let_in("*")])) == "notice"
    assert state(see_cors([let_in("*", credentials=True)])) == "warning"
    assert state(see_cors([let_in(FOREIGN_ORIGIN, credentials=True)])) == "warning"
    assert state(see_cors([SILENT])) == "error"


@pytest.mark.parametrize(("container", "told"), [
    (ContainerState(True, False, 0), None),
    (ContainerState(True, False, 2), "backend restarted 2 time(s)"),
    (ContainerState(True, True, 1), "backend is restarting"),
    (ContainerState(False, False, 0, 137), "backend exited with 137"),
    (None, "backend: its container is gone"),
])  # fmt: skip
def test_containers(container: ContainerState | None, told: str | None) -> None:
    found = judge_containers({"frontend": ContainerState(True, False, 0), "backend": container})
    assert found.ok == (told is None) and (told or "no restarts") in found.detail


def test_only_errors_fail() -> None:
    results = [CheckResult(s, False, "", 0.0, severity=s) for s in ("notice", "warning", "error")]
    assert [r.id for r in failures([*results, CheckResult("good", True, "", 0.0)])] == ["error"]


@pytest.mark.parametrize("body", [
    b'{"database": "connection timed out"}', b'{"database": "cannot reach db"}', b'{"db": "access denied"}',
    b'{"database": "connected", "db_error": "password wrong"}', b'{"database": {"error": "gone"}}',
])  # fmt: skip
def test_an_error_told_in_words_is_one(body: bytes) -> None:
    assert state(judge_database({"/h": Answer(200, body=body)}, configured=True)) == "error"


def test_an_empty_error_is_none() -> None:
    body = b'{"database": "connected", "database_error": null}'
    assert state(judge_database({"/h": Answer(200, body=body)}, configured=True)) == "pass"


def test_to_let_in_whoever_asks_with_credentials_is_as_bad_as_everybody() -> None:
    headers = {"access-control-allow-origin": FOREIGN_ORIGIN, "access-control-allow-credentials": "true"}
    answers = {(method, FOREIGN_ORIGIN): Answer(200, headers) for method in ("OPTIONS", "GET")}
    assert state(judge_cors(["*"], answers)) == "error"
