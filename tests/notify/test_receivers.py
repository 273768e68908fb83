"""The file log, and real receivers behind Apprise: what an attempt makes of their answers, and in what time."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from backstay.adapters.notify import OutsideReceivers
from backstay.domain.notification import Delivery, Notification
from backstay.domain.secret import Secret
from tests.notify.receiver import DRIP, HANG, TOKEN, black_hole, receiving, refusing

AT = "2126-03-01T12:00:00.000Z"


def notification(url: str = "", message: str = "v2 is live", status: str = "success") -> Notification:
    return Notification(
        id=7, app="shop", environment="prod", deployment="d1", status=status, component="backend",
        message=message, channel="log", target=Secret(url).fingerprint() if url else "", created_at=AT,
    )  # fmt: skip


def deliver(home: Path, url: str, deadline_s: float = 10.0) -> Delivery:
    return OutsideReceivers(home, [Secret(url)], deadline_s).deliver(notification(url))


def test_a_receiver_gets_title_message_and_kind(tmp_path: Path) -> None:
    with receiving() as receiver:
        assert deliver(tmp_path, receiver.url) == Delivery()
    [told] = receiver.told
    assert (told["title"], told["message"]) == ("shop prod: success (backend)", "v2 is live")
    assert told["type"] == "success"


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_a_refusal_is_named_by_its_number(tmp_path: Path, status: int) -> None:
    with receiving(status) as receiver:
        assert deliver(tmp_path, receiver.url) == Delivery(f"the receiver answered {status}")


def test_nobody_listening_is_said_at_once(tmp_path: Path) -> None:
    with refusing() as url:
        began = time.monotonic()
        assert deliver(tmp_path, url) == Delivery("the receiver cannot be reached, or did not answer")
    assert time.monotonic() - began < 6


@pytest.mark.parametrize("answer", [HANG, DRIP])
def test_an_attempt_ends_at_its_deadline(tmp_path: Path, answer: int) -> None:
    """A dripping receiver never trips the time-out of a socket, which begins anew with each byte."""
    with receiving(answer) as receiver:
        began = time.monotonic()
        assert deliver(tmp_path, receiver.url, 0.5) == Delivery("the receiver did not answer within 0.5 s")
        assert time.monotonic() - began < 6


def test_a_black_hole_ends_at_the_deadline(tmp_path: Path) -> None:
    with black_hole() as url:
        assert deliver(tmp_path, url, 0.5).error == "the receiver did not answer within 0.5 s"


@pytest.mark.parametrize("url", [f"nosuch://{TOKEN}/x", f"slack://{TOKEN}", "mailto://"])
def test_a_url_that_apprise_does_not_understand_is_given_up_at_once(
    tmp_path: Path, url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    delivery = deliver(tmp_path, url)
    assert delivery.is_final and "notify:" in (delivery.error or "")
    assert TOKEN not in repr(delivery) + "".join(capfd.readouterr())


def test_nothing_of_a_url_reaches_a_log_or_an_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    with receiving(500) as receiver, refusing() as dead:
        said = [deliver(tmp_path, url.replace("127", "ann:passw0rd@127", 1)) for url in (receiver.url, dead)]
        assert len(receiver.told) == 1
    text = repr(said) + "".join(capfd.readouterr())
    text += "\n".join(r.getMessage() for r in caplog.records if r.name.startswith("apprise"))
    assert TOKEN not in text and "passw0rd" not in text and "hooks" not in text


def test_the_log_has_a_line_for_each_notification_and_is_private(tmp_path: Path) -> None:
    receivers = OutsideReceivers(tmp_path)
    for message in ("one", "two\nlines", "Tür"):
        assert receivers.deliver(notification(message=message)) == Delivery()
    log = tmp_path / "notifications.jsonl"
    assert log.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["message"] for line in lines] == ["one", "two\nlines", "Tür"]
    assert lines[0] == {
        "at": AT, "id": 7, "app": "shop", "environment": "prod", "status": "success",
        "component": "backend", "message": "one", "deployment": "d1",
    }  # fmt: skip


def test_lines_of_several_writers_do_not_mix(tmp_path: Path) -> None:
    def write(letter: str) -> None:
        receivers = OutsideReceivers(tmp_path)
        for _ in range(50):
            receivers.deliver(notification(message=letter * 5000))

    writers = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = (tmp_path / "notifications.jsonl").read_text().splitlines()
    assert sorted({json.loads(line)["message"] for line in lines}) == [c * 5000 for c in "abcd"]
    assert len(lines) == 200


def test_a_log_that_cannot_be_written_is_an_error_and_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "notifications.jsonl").mkdir()
    delivery = OutsideReceivers(tmp_path).deliver(notification())
    assert delivery.error is not None and delivery.error.endswith("Is a directory") and not delivery.is_final


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    (tmp_path / "notifications.jsonl").symlink_to("/dev/full")
    assert (OutsideReceivers(tmp_path).deliver(notification()).error or "").endswith(
        "No space left on device"
    )


HALF = """
import resource, signal, sys
from pathlib import Path
from backstay.adapters.notify import OutsideReceivers
from tests.notify.test_receivers import notification
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
receivers = OutsideReceivers(Path(sys.argv[1]))
receivers.deliver(notification(message="whole"))
resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
print(receivers.deliver(notification(message="x" * 500)).error)
"""


def test_a_line_that_was_cut_off_is_taken_back(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HALF, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.endswith("notifications.jsonl: the disk is full\n")
    [line] = (tmp_path / "notifications.jsonl").read_text().splitlines()
    assert json.loads(line)["message"] == "whole"
