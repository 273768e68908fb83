"""`notify` and `notifications`, with and without a configuration, with real receivers."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backstay.cli import notify
from tests.cli.conftest import Backstay
from tests.config.samples import GOOD
from tests.notify.receiver import HANG, TOKEN, receiving, refusing


def configured(folder: Path, *urls: str) -> None:
    """The good configuration, with receivers in dev."""
    text = GOOD.replace("dev: {", f"dev: {{notify: {json.dumps(urls)}, ", 1)
    (folder / "backstay.yml").write_text(text)


def listed(backstay: Backstay, *args: str) -> list[dict[str, Any]]:
    done = backstay("notifications", "list", *args, "--json")
    assert done.status == 0, done.err
    rows: list[dict[str, Any]] = done.document
    return rows


def everything_in(home: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file())


def test_without_a_configuration_the_log_is_told(
    backstay: Backstay, folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "backstay.yml").unlink()
    done = backstay("notify", "prod", "started", "all", "Deployment initiated")
    assert (done.status, done.out, done.err) == (0, "", "log: told\n")
    monkeypatch.setenv("BACKSTAY_APP", "meat")
    assert backstay("notify", "prod", "success", "backend", "Backend updated").status == 0
    lines = [json.loads(line) for line in (home / "notifications.jsonl").read_text().splitlines()]
    assert [(x["app"], x["environment"], x["status"], x["component"], x["message"]) for x in lines] == [
        ("app", "prod", "started", "all", "Deployment initiated"),
        ("meat", "prod", "success", "backend", "Backend updated"),
    ]
    assert [row["message"] for row in listed(backstay)] == ["Backend updated"]


def test_every_status_is_taken_and_others_are_shown_as_they_are(backstay: Backstay, home: Path) -> None:
    for status in ("started", "success", "failed", "rollback", "thawed"):
        assert backstay("notify", "dev", status, "all", "x").status == 0
    assert [row["status"] for row in listed(backstay, "dev")][::-1][-1] == "thawed"
    assert listed(backstay, "prod") == []


def test_a_receiver_is_told_at_once(backstay: Backstay, folder: Path) -> None:
    with receiving() as receiver:
        configured(folder, receiver.url)
        done = backstay("notify", "dev", "failed", "frontend", "Health check failed")
    assert (done.status, done.err) == (0, "log: told\njson://[redacted]: told\n")
    assert receiver.bodies == ["shop dev: failed (frontend): Health check failed"]
    assert receiver.told[0]["type"] == "failure"


def test_the_json_of_notify_and_of_the_list(backstay: Backstay, folder: Path) -> None:
    with receiving(500) as receiver:
        configured(folder, receiver.url)
        document = backstay("notify", "dev", "success", "all", "hello", "--json").document
    assert document["ok"] is True and document["annotated"] is False
    log, chat = document["notifications"]
    assert (log["channel"], log["state"], log["attempts"], log["next_attempt_at"]) == ("log", "sent", 1, None)
    assert chat.keys() == {
        "id", "created_at", "app", "environment", "deployment", "status", "component", "message", "channel", "state",
        "attempts", "last_error", "next_attempt_at",
    }  # fmt: skip
    assert (chat["channel"], chat["state"], chat["attempts"]) == ("json://[redacted]", "pending", 1)
    assert chat["last_error"] == "the receiver answered 500" and chat["next_attempt_at"].endswith("Z")
    assert listed(backstay) == [chat, log]


def test_a_dead_receiver_fails_nothing_and_gets_it_later_once(backstay: Backstay, folder: Path) -> None:
    with receiving(500, 200) as receiver:
        configured(folder, receiver.url)
        done = backstay("notify", "dev", "success", "all", "first")
        assert done.status == 0
        assert "json://[redacted]: not told: the receiver answered 500; kept" in done.err
        done = backstay("notifications", "retry", "dev")
        assert (done.status, done.err) == (0, "1 told, 0 left\n")
        assert backstay("notifications", "retry").err == "0 told, 0 left\n"
    assert receiver.bodies == ["shop dev: success: first"] * 2, "refused once, taken once"


def test_a_hanging_receiver_is_left_after_a_short_while(
    backstay: Backstay, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "ATTEMPT_S", 0.5)
    with receiving(HANG) as receiver:
        configured(folder, receiver.url)
        began = time.monotonic()
        done = backstay("notify", "dev", "success", "all", "hello")
        assert time.monotonic() - began < 3
    assert done.status == 0 and "the receiver did not answer within 0.5 s; kept" in done.err


def test_a_retry_that_does_not_help_says_so(backstay: Backstay, folder: Path) -> None:
    with refusing() as url:
        configured(folder, url)
        backstay("notify", "dev", "success", "all", "hello")
        done = backstay("notifications", "retry", "--json")
    assert done.status == 10 and done.document["ok"] is False
    assert [row["state"] for row in done.document["notifications"]] == ["pending"]


def test_a_receiver_that_was_taken_out_of_the_configuration_is_named_as_such(
    backstay: Backstay, folder: Path
) -> None:
    with refusing() as url:
        configured(folder, url)
        backstay("notify", "dev", "success", "all", "hello")
    configured(folder)
    done = backstay("notifications", "retry")
    assert done.status == 10
    assert "json://[redacted]: its receiver is not in `notify:` any more" in done.err


def test_github_gets_an_annotation_that_a_message_cannot_forge(
    backstay: Backstay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    done = backstay("notify", "dev", "failed", "backend", "50 %\n::error::forged")
    assert done.out == "::error title=shop dev%3A failed (backend)::50 %25%0A::error::forged\n"
    done = backstay("notify", "dev", "success", "all", "fine", "--json")
    assert done.document["annotated"] is True
    assert "::notice title=shop dev%3A success::fine\n" in done.err


def test_secrets_are_taken_out_of_messages(backstay: Backstay, folder: Path, home: Path) -> None:
    with receiving() as receiver:
        configured(folder, receiver.url)
        message = f"postgresql://shop:hunter2secret@127.0.0.1:1/shop and {receiver.url} fail"
        backstay("notify", "dev", "failed", "all", message)
    assert receiver.told[0]["message"] == "[redacted] and [redacted] fail"
    assert b"hunter2secret" not in everything_in(home) and TOKEN.encode() not in everything_in(home)


def test_a_url_is_nowhere_but_in_the_configuration(backstay: Backstay, folder: Path, home: Path) -> None:
    said = ""
    with receiving(500) as receiver, refusing() as dead:
        configured(folder, receiver.url, dead, f"nosuch://{TOKEN}")
        for args in (
            ("notify", "dev", "success", "all", "hello", "--verbose"),
            ("notifications", "list"),
            ("notifications", "list", "--json"),
            ("notifications", "retry"),
            ("config", "show", "dev"),
        ):
            done = backstay(*args)
            said += done.out + done.err
    assert "[redacted]" in said and TOKEN not in said
    assert TOKEN.encode() not in everything_in(home)


def test_a_list_writes_nothing(backstay: Backstay, home: Path) -> None:
    assert backstay("notifications", "list").err == "nothing was told yet\n"
    assert not home.exists()


def test_what_was_given_up_is_listed_with_its_reason_and_begun_anew(
    backstay: Backstay, folder: Path, home: Path
) -> None:
    configured(folder, f"nosuch://{TOKEN}/x")
    done = backstay("notify", "dev", "success", "all", "two\nlines")
    assert "nosuch://[redacted]: given up: Apprise cannot make a receiver of this URL" in done.err
    out = backstay("notifications", "list", "dev").out
    assert "failed   1x  two lines\n    Apprise cannot make a receiver" in out
    assert backstay("notifications", "retry", "dev").status == 10
    with closing(sqlite3.connect(home / "state.db")) as store:
        [attempts] = store.execute("SELECT attempts FROM notifications WHERE target != ''").fetchone()
    assert attempts == 1


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("notify", "dev", "success", "all"), "Missing argument 'MESSAGE'"),
        (("notify", "nowhere", "success", "all", "x"), "unknown environment 'nowhere'"),
        (("notify", "dev", "success", "all", "x", "--config", "/nowhere.yml"), "/nowhere.yml"),
        (("notifications", "retry", "nowhere"), "unknown environment 'nowhere'"),
        (("notifications", "list", "--limit", "0"), "--limit"),
    ],
)
def test_a_wrong_call_tells_nobody(backstay: Backstay, home: Path, args: tuple[str, ...], told: str) -> None:
    done = backstay(*args)
    assert done.status == 2 and told in done.err
    assert not home.exists()


def test_a_faulty_configuration_is_named_and_not_taken_for_none(backstay: Backstay, folder: Path) -> None:
    (folder / "backstay.yml").write_text(GOOD.replace("app:", "ap:"))
    done = backstay("notify", "dev", "success", "all", "x")
    assert done.status == 2 and 'the key "app" is missing' in done.err
