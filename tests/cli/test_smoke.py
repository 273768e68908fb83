"""`backstay smoke URL` in a folder without a configuration, against real sites: good ones pass, each bad one fails."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backstay.domain.slot import Slot, Slots
from tests.cli.conftest import Backstay
from tests.http.site import Answering, Reply, Site, good, of_json
from tests.http.tls_server import TlsServer, make_certificate
from tests.store.samples import APP, ENV, begun, slots, store_at


@pytest.fixture
def nowhere(folder: Path) -> None:
    """No backstay.yml anywhere."""
    (folder / "backstay.yml").unlink()


def but(path: str, reply: Reply) -> Answering:
    """A good site, except for one path."""

    def answering(method: str, asked: str, headers: Mapping[str, str]) -> Reply:
        return reply if asked == path else good(method, asked, headers)

    return answering


def states(document: Any) -> dict[str, str]:
    return {c["id"]: "pass" if c["ok"] else c["severity"] for c in document["checks"]}


def test_a_good_site_passes_and_what_cannot_be_told_is_no_pass(
    nowhere: None, backstay: Backstay, home: Path
) -> None:
    with Site() as site:
        done = backstay("smoke", site.url, "--json")
    assert done.status == 0 and done.document["ok"] and done.document["target"] == site.url
    assert states(done.document) == {
        "frontend": "pass", "backend health": "pass", "api": "pass", "response time": "pass", "database": "pass",
        "tls": "notice", "cors": "notice", "containers": "notice",
    }  # fmt: skip
    assert set(done.document["checks"][0]) == {"id", "ok", "severity", "detail", "hint", "took_s"}
    assert not home.exists()


@pytest.mark.parametrize(("path", "reply", "failing"), [
    ("/", Reply(500), {"frontend"}),
    ("/", Reply(body=b""), {"frontend"}),
    ("/", Reply(wait_s=2.1), {"response time"}),
    ("/", Reply(drip_s=0.12), {"response time"}),
    ("/api/v1/health/", of_json(b'{"database": "unavailable"}', 503), {"backend health", "database"}),
    ("/api/v1/health/", of_json(b'{"database": "down"}'), {"database"}),
    ("/api/v1/", of_json(b"{}", 500), {"api"}),
    ("/api/v1/", of_json(b"{}", wait_s=2.1), {"response time"}),
])  # fmt: skip
def test_every_fault_fails_the_kind_it_belongs_to(
    nowhere: None, backstay: Backstay, path: str, reply: Reply, failing: set[str]
) -> None:
    with Site(but(path, reply)) as site:
        done = backstay("smoke", site.url, "--json", "--retries", "1")
    assert done.status == 10 and not done.document["ok"]
    assert {id_ for id_, state in states(done.document).items() if state == "error"} == failing


def test_an_answer_that_drips_is_cut_at_the_one_deadline(nowhere: None, backstay: Backstay) -> None:
    with Site(but("/", Reply(body=b"x" * 100, drip_s=0.2))) as site:
        began = time.monotonic()
        done = backstay("smoke", site.url, "--json", "--retries", "5", "--delay", "0.1", "--deadline", "1")
    assert done.status == 10 and time.monotonic() - began < 4.0
    assert states(done.document)["frontend"] == "error"


def test_a_named_path_that_is_not_there_fails(nowhere: None, backstay: Backstay) -> None:
    with Site() as site:
        done = backstay("smoke", site.url, "--json", "--retries", "1", "--health", "/up", "--api", "/rest")
    assert done.status == 10
    assert states(done.document)["backend health"] == states(done.document)["api"] == "error"


def test_a_site_of_pages_has_no_api_even_if_it_answers_every_path(nowhere: None, backstay: Backstay) -> None:
    with Site(lambda method, path, headers: Reply()) as site:
        done = backstay("smoke", site.url, "--json")
    assert done.status == 0
    assert states(done.document)["api"] == states(done.document)["database"] == "notice"


def allowing(origin: str | None, credentials: bool = False) -> Answering:
    """Allows `origin`; "reflect" allows whoever asks."""

    def answering(method: str, path: str, headers: Mapping[str, str]) -> Reply:
        reply = good(method, path, headers)
        allowed = headers.get("Origin") if origin == "reflect" else origin
        added = {"Access-Control-Allow-Origin": allowed} if allowed and headers.get("Origin") else {}
        if credentials:
            added["Access-Control-Allow-Credentials"] = "true"
        return Reply(reply.status, reply.body, {**reply.headers, **added})

    return answering


@pytest.mark.parametrize(("origin", "credentials", "told", "named"), [
    ("https://a.example", False, "notice", "pass"),
    (None, False, "notice", "error"),
    ("https://b.example", False, "notice", "error"),
    ("reflect", False, "notice", "error"),
    ("reflect", True, "warning", "error"),
    ("*", False, "notice", "error"),
    ("*", True, "warning", "error"),
])  # fmt: skip
def test_cors(
    nowhere: None, backstay: Backstay, origin: str | None, credentials: bool, told: str, named: str
) -> None:
    with Site(allowing(origin, credentials)) as site:
        assert states(backstay("smoke", site.url, "--json").document)["cors"] == told
        done = backstay("smoke", site.url, "--json", "--retries", "1", "--origin", "https://a.example")
    assert states(done.document)["cors"] == named


def test_tls(nowhere: None, backstay: Backstay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = make_certificate(tmp_path, days=10)
    with TlsServer(pair) as server:
        url = f"https://localhost:{server.port}"
        stranger = backstay("smoke", url, "--json", "--retries", "1")
        monkeypatch.setenv("SSL_CERT_FILE", str(pair.certificate))
        trusted = backstay("smoke", url, "--json", "--retries", "1")
    assert (stranger.status, states(stranger.document)["tls"]) == (10, "error")
    assert states(stranger.document)["frontend"] == "pass"
    assert (trusted.status, states(trusted.document)["tls"]) == (0, "warning")


def test_only_what_failed_is_tried_again_and_it_ends_once_all_pass(nowhere: None, backstay: Backstay) -> None:
    pages = iter([Reply(503), Reply(503)])

    def answering(method: str, path: str, headers: Mapping[str, str]) -> Reply:
        return next(pages, Reply()) if path == "/" else good(method, path, headers)

    with Site(answering) as site:
        done = backstay("smoke", site.url, "--retries", "10", "--delay", "0.1")
    assert done.status == 0 and "try 2 of 10: frontend failed" in done.err
    assert "try 3" not in done.err and "✓ frontend" in done.out
    assert site.asked.count("GET /api/v1/") == 2  # one for api and response time, one with an origin


def test_nothing_listens(nowhere: None, backstay: Backstay) -> None:
    with Site() as site:
        url = site.url
    done = backstay("smoke", url, "--retries", "1")
    assert done.status == 10 and "nothing listens" in done.out


@pytest.mark.parametrize("words", [
    ("ftp://a",), ("http://",), ("http://u:pw-secret@a/",), ("http://a:99999",), ("http://a", "--retries", "0"),
    ("http://a", "--health", "up"), ("dev", "--api", "/api/"), ("http://a", "--delay", "nan"),
    ("http://a", "--deadline", "nan"), ("http://a", "--deadline", "inf"), ("http://a", "--delay=-inf"), ("nowhere",),
    ("dev",), (),
])  # fmt: skip
def test_wrong_use(backstay: Backstay, words: tuple[str, ...]) -> None:
    done = backstay("smoke", *words)
    assert done.status == 2 and "pw-secret" not in done.err + done.out


def test_an_api_alone_needs_no_page(nowhere: None, backstay: Backstay) -> None:
    with Site(but("/", Reply(404))) as site:
        done = backstay("smoke", site.url, "--json", "--retries", "1")
    assert done.status == 0 and states(done.document)["frontend"] == "notice"
    with Site(lambda method, path, headers: Reply(404)) as site:
        assert backstay("smoke", site.url, "--retries", "1").status == 10


def test_a_redirect_that_names_its_own_site_is_followed(nowhere: None, backstay: Backstay) -> None:
    with Site() as site:
        pages = {"/": Reply(302, headers={"Location": f"{site.url}/en/"}), "/en/": Reply()}
        site.answering = lambda method, path, headers: pages.get(path) or good(method, path, headers)
        done = backstay("smoke", site.url, "--json", "--retries", "1")
    assert done.status == 0 and states(done.document)["frontend"] == "pass"


def test_a_slow_api_is_waited_for_once(nowhere: None, backstay: Backstay) -> None:
    with Site(but("/api/v1/", of_json(b"{}", wait_s=2.0))) as site:
        began = time.monotonic()
        backstay("smoke", site.url, "--retries", "1")
        assert time.monotonic() - began < 3.9


@pytest.mark.parametrize(("target", "says"), [
    ("https://ann:hunter2@h:99999/", "leave it out"),
    ("ftp://ann:hunter2@h/", "leave it out"),
    ("https://h/?tenant=a", "next:  backstay smoke https://h/"),
    ("localhost:8000", "next:  backstay smoke http://localhost:8000"),
    ("shop.example", "next:  backstay smoke http://shop.example"),
])  # fmt: skip
def test_what_is_no_target_is_refused_with_the_cure(backstay: Backstay, target: str, says: str) -> None:
    done = backstay("smoke", target)
    assert done.status == 2 and says in done.err and "hunter2" not in done.err


def test_an_answer_that_shows_a_secret_is_redacted(
    backstay: Backstay, home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql://shop:hunter2secret@127.0.0.1:1/shop"
    home.mkdir()
    with closing(store_at(home / "state.db")) as store:
        lease = begun(store, "d1", "v1")
        store.save_slots(lease.token, APP, ENV, Slots(Slot.BLUE, slots().mappings))
        store.release_lease(lease)
    told = of_json(json.dumps({"database": f"refused by {url}"}).encode(), 503)
    with Site(lambda method, path, headers: told) as site:
        config = folder / "backstay.yml"
        config.write_text(
            config.read_text().replace("127.0.0.1:8443", f"127.0.0.1:{site.url.rpartition(':')[2]}")
        )
        done = backstay("smoke", "prod", "--retries", "1")
    assert done.status == 10 and "refused by" in done.out and "hunter2secret" not in done.out + done.err
