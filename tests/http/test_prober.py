"""The prober tells what came back, or why nothing did, and always within its deadline."""

from __future__ import annotations

import socket
import time

import pytest

from backstay.adapters.http import BODY_LIMIT, HttpProber
from backstay.domain.smoke import Answer
from tests.http.raw_server import RawServer, response

HOST = "127.0.0.1"


SOON_S = 3.0
"""Long after the deadlines here, and before the answers that come too late are whole."""


@pytest.fixture
def prober() -> HttpProber:
    return HttpProber()


def timed(prober: HttpProber, port: int, deadline_s: float) -> tuple[Answer, float]:
    began = time.monotonic()
    answer = prober.ask(HOST, port, "/", deadline_s=deadline_s)
    return answer, time.monotonic() - began


def test_status_headers_and_body(prober: HttpProber) -> None:
    with RawServer(response("201 Created", b"hello", "Content-Type: text/plain", "X-A: 1")) as server:
        answer = prober.ask(HOST, server.port, "/path?a=b")
    assert (answer.status, answer.body, answer.error) == (201, b"hello", None)
    assert answer.headers["content-type"] == "text/plain" and answer.headers["x-a"] == "1"
    assert 0 < answer.took_s < 2
    assert server.requests[0].startswith(b"GET /path?a=b HTTP/1.1\r\n")


def test_method_and_headers_are_sent_and_the_connection_is_not_kept(prober: HttpProber) -> None:
    with RawServer(response()) as server:
        for _ in range(2):
            prober.ask(
                HOST, server.port, "/", method="POST", headers={"Host": "shop.example", "X-Nonce": "n"}
            )
    assert len(server.requests) == 2
    for head in (request.lower() for request in server.requests):
        assert head.startswith(b"post / http/1.1\r\n")
        assert b"\r\nhost: shop.example\r\n" in head
        assert b"\r\nx-nonce: n\r\n" in head
        assert b"\r\nconnection: close\r\n" in head
        assert b"\r\nuser-agent: backstay\r\n" in head


def test_a_header_is_sent_once_in_whatever_case_it_is_asked_for(prober: HttpProber) -> None:
    with RawServer(response()) as server:
        prober.ask(
            HOST, server.port, "/", headers={"host": "shop.example", "user-agent": "curl", "CONNECTION": "x"}
        )
    [head] = [request.lower().split(b"\r\n") for request in server.requests]
    for name, value in ((b"host", b"shop.example"), (b"user-agent", b"curl"), (b"connection", b"x")):
        assert [line for line in head if line.startswith(name + b":")] == [name + b": " + value]


@pytest.mark.parametrize("status", ["404 Not Found", "500 Internal Server Error", "503 Service Unavailable"])
def test_a_bad_status_is_an_answer(prober: HttpProber, status: str) -> None:
    with RawServer(response(status)) as server:
        answer = prober.ask(HOST, server.port, "/")
    assert answer.error is None and f"{answer.status}" == status[:3] and not answer.is_healthy


def test_a_redirect_is_not_followed(prober: HttpProber) -> None:
    with RawServer(response("302 Found", b"", "Location: /elsewhere")) as server:
        answer = prober.ask(HOST, server.port, "/")
    assert answer.status == 302 and answer.headers["location"] == "/elsewhere"
    assert len(server.requests) == 1


def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch, prober: HttpProber) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with RawServer(response()) as server:
        assert prober.ask(HOST, server.port, "/").status == 200


def test_nothing_listens(prober: HttpProber) -> None:
    with socket.socket() as bound:
        bound.bind((HOST, 0))
        port = bound.getsockname()[1]
        assert prober.ask(HOST, port, "/").error == f"nothing listens on {HOST}:{port}"


def test_an_address_of_version_6(prober: HttpProber) -> None:
    with socket.socket() as bound:
        bound.bind((HOST, 0))
        port = bound.getsockname()[1]
        assert prober.ask("::1", port, "/").error == f"nothing listens on ::1:{port}"


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", response(body=b"x" * 9)[:-4]])
@pytest.mark.parametrize("resets", [True, False])
def test_a_connection_that_ends_early_is_no_answer(prober: HttpProber, sent: bytes, resets: bool) -> None:
    with RawServer(sent, resets=resets) as server:
        answer = prober.ask(HOST, server.port, "/")
    assert answer.error and not answer.is_healthy
    assert answer.status == 0 and not answer.body


def test_what_is_not_http_is_no_answer(prober: HttpProber) -> None:
    with RawServer(b"SSH-2.0-OpenSSH_9.2\r\n\r\n") as server:
        assert "Protocol" in (prober.ask(HOST, server.port, "/").error or "")


def test_silence_ends_at_the_deadline(prober: HttpProber) -> None:
    with RawServer(b"", response(), pause_s=30) as server:
        answer, took_s = timed(prober, server.port, 0.3)
    assert answer.error == "no whole answer within 0.3 s"
    assert 0.3 <= took_s < SOON_S


def test_a_slow_body_ends_at_the_deadline(prober: HttpProber) -> None:
    whole = response(body=b"x" * 100)
    parts = [whole[:-100], *([b"x"] * 100)]
    with RawServer(*parts, pause_s=0.1) as server:
        answer, took_s = timed(prober, server.port, 0.35)
    assert answer.error == "no whole answer within 0.35 s" and answer.status == 0
    assert 0.35 <= took_s < SOON_S


def test_a_slow_head_ends_at_the_deadline(prober: HttpProber) -> None:
    parts = [bytes([byte]) for byte in response(body=b"x")]
    with RawServer(*parts, pause_s=0.1) as server:
        answer, took_s = timed(prober, server.port, 0.35)
    assert answer.error == "no whole answer within 0.35 s"
    assert took_s < SOON_S


@pytest.mark.parametrize("head", [response(body=b"x" * 9)[:-9], b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_body_that_stops_ends_at_the_deadline(prober: HttpProber, head: bytes) -> None:
    with RawServer(head, b"x" * 8, *([b""] * 6), b"x", pause_s=0.5) as server:
        answer, took_s = timed(prober, server.port, 0.7)
    assert answer.error == "no whole answer within 0.7 s" and not answer.body
    assert took_s < SOON_S


def test_of_an_endless_body_only_the_beginning_is_read(prober: HttpProber) -> None:
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    with RawServer(head, *([b"x" * 65536] * 100)) as server:
        answer = prober.ask(HOST, server.port, "/", deadline_s=5)
    assert answer.status == 200 and answer.error is None
    assert BODY_LIMIT < len(answer.body) < 2 * BODY_LIMIT


@pytest.mark.parametrize("path", ["/tür", "/a b", "/%zz", "/" + "a" * 70_000, "/\x00", "/\n"])
def test_an_odd_path_never_raises(prober: HttpProber, path: str) -> None:
    with RawServer(response()) as server:
        answer = prober.ask(HOST, server.port, path, deadline_s=1)
    assert answer.status == 200 or answer.error


@pytest.mark.parametrize("value", ["ü", "a\r\nX-Other: b", "\x00"])
def test_an_odd_header_never_raises_and_smuggles_nothing(prober: HttpProber, value: str) -> None:
    with RawServer(response()) as server:
        answer = prober.ask(HOST, server.port, "/", headers={"X-A": value}, deadline_s=1)
    assert answer.status == 200 or answer.error
    assert all(b"\r\nx-other:" not in request.lower() for request in server.requests)


def test_a_body_that_claims_to_be_compressed_is_taken_as_it_is(prober: HttpProber) -> None:
    """We ask for none that is."""
    with RawServer(response("200 OK", b"not gzip", "Content-Encoding: gzip")) as server:
        assert prober.ask(HOST, server.port, "/").body == b"not gzip"
        assert b"accept-encoding: identity" in server.requests[0].lower()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$.database", (True, "connected")),
        ("$.items[0].id", (True, 1)),
        ("$.items[*].id", (True, 1)),
        ("$.nothing", (True, None)),
        ("$.missing", (False, None)),
        ("$.items[9]", (False, None)),
        ("$[?", (False, None)),
    ],
)
def test_values_at_jsonpaths(prober: HttpProber, path: str, expected: tuple[bool, object]) -> None:
    body = b'{"database": "connected", "items": [{"id": 1}, {"id": 2}], "nothing": null}'
    assert prober.find_json(body, path) == expected


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"\xff\xfe\xff", b'{"a":', b"[" * 100_000, b'{"a":' * 100_000]
)
def test_a_body_that_is_no_json_has_nothing_anywhere(prober: HttpProber, body: bytes) -> None:
    assert prober.find_json(body, "$.a") == (False, None)
