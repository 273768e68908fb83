"""A look at the certificate tells good from bad, and a bad one does not hide what else is wrong."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from backstay.adapters.http import HttpProber
from tests.http.raw_server import RawServer, response
from tests.http.tls_server import Pair, TlsServer, make_certificate


@pytest.fixture
def prober() -> HttpProber:
    return HttpProber()


def trusted(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Pair:
    monkeypatch.setenv("SSL_CERT_FILE", str(pair.certificate))
    return pair


def test_a_trusted_certificate_tells_when_it_expires(
    prober: HttpProber, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = trusted(make_certificate(tmp_path, days=10), monkeypatch)
    with TlsServer(pair) as server:
        found = prober.certificate("localhost", server.port)
    assert (found.error, found.fault) == (None, None)
    assert found.expires_at is not None and abs(found.expires_at - time.time() - 10 * 86400) < 120


def test_a_self_signed_one_is_a_fault(prober: HttpProber, tmp_path: Path) -> None:
    with TlsServer(make_certificate(tmp_path)) as server:
        found = prober.certificate("localhost", server.port)
    assert found.fault == "the certificate is not trusted: self-signed certificate"


def test_so_is_one_for_another_host(
    prober: HttpProber, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = trusted(make_certificate(tmp_path, "other.example"), monkeypatch)
    with TlsServer(pair) as server:
        found = prober.certificate("localhost", server.port)
    assert found.fault is not None and "Hostname mismatch" in found.fault


def test_and_one_that_has_expired(
    prober: HttpProber, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = trusted(make_certificate(tmp_path, begins="20200101000000Z"), monkeypatch)
    with TlsServer(pair) as server:
        found = prober.certificate("localhost", server.port)
    assert found.fault == "the certificate is not trusted: certificate has expired"


def test_no_tls_at_all(prober: HttpProber) -> None:
    with RawServer(response()) as server:
        port = server.port
        assert prober.certificate("127.0.0.1", port, deadline_s=1.0).error is not None
    assert prober.certificate("127.0.0.1", port).error == f"nothing listens on 127.0.0.1:{port}"


def test_a_server_that_never_shakes_hands_is_left_at_the_deadline(prober: HttpProber, tmp_path: Path) -> None:
    with TlsServer(make_certificate(tmp_path), silent=True) as server:
        began = time.monotonic()
        found = prober.certificate("localhost", server.port, deadline_s=0.3)
        assert found.error == "no TLS handshake within 0.3 s" and time.monotonic() - began < 3.0
        answer = prober.ask("localhost", server.port, "/", tls=True, deadline_s=0.3)
        assert answer.error == "no whole answer within 0.3 s"


def test_a_bad_certificate_does_not_hide_the_answer(prober: HttpProber, tmp_path: Path) -> None:
    with TlsServer(make_certificate(tmp_path, "other.example")) as server:
        answer = prober.ask("localhost", server.port, "/", tls=True)
    assert (answer.status, answer.body, answer.error) == (200, b"<title>Shop</title>", None)


def test_plain_http_asked_over_tls(prober: HttpProber) -> None:
    with RawServer(response()) as server:
        answer = prober.ask("127.0.0.1", server.port, "/", tls=True, deadline_s=1.0)
    assert answer.error is not None and answer.status == 0
