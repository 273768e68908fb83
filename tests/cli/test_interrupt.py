"""What Ctrl-C and SIGTERM mean before and after there is a deployment, and what a reader who left means."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from backstay.cli.interrupt import Interrupts, Left
from backstay.cli.launch import Prepared


def send(number: signal.Signals) -> None:
    """To this process; Python heeds it before the next line."""
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Whatever a test leaves, the next one has its own Ctrl-C again."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    assert {number: signal.getsignal(number) for number in before} == before, "they were put back"


def test_before_there_is_a_deployment_both_just_end_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), Interrupts("dev"):
        send(signal.SIGINT)
    with pytest.raises(Left) as left, Interrupts("dev"):
        send(signal.SIGTERM)
    assert (left.value.status, left.value.begun) == (143, False)
    assert capsys.readouterr().err == "", "no worker goes on, so nobody is told that one does"


def test_the_first_ctrl_c_is_a_wish_and_the_second_leaves(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Left) as left, Interrupts("dev") as interrupts:
        interrupts.begin()
        before = interrupts.wanted
        send(signal.SIGINT)
        assert (before, interrupts.wanted) == (False, True)
        send(signal.SIGINT)
    assert (left.value.status, left.value.begun) == (130, True)
    assert "the worker goes on aborting: backstay attach dev follows it" in capsys.readouterr().err


def test_sigterm_leaves_at_once_and_the_worker_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Left) as left, Interrupts("dev", begun=True):
        send(signal.SIGTERM)
    assert left.value.status == 143
    assert "the worker goes on working: backstay attach dev follows it" in capsys.readouterr().err


def test_who_asked_for_the_abort_already_leaves_by_the_first_ctrl_c() -> None:
    with pytest.raises(Left) as left, Interrupts("dev", begun=True, asked=True):
        send(signal.SIGINT)
    assert left.value.status == 130


def test_a_signal_that_we_were_started_to_ignore_stays_ignored() -> None:
    """As of a command in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts("dev", begun=True) as interrupts:
            send(signal.SIGINT)
        assert not interrupts.wanted
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("error", "dismissed"),
    [
        (None, False),
        (KeyboardInterrupt(), True),
        (ValueError("no plan"), True),
        (Left(143, begun=False), True),
        (Left(143, begun=True), False),
    ],
)
def test_a_worker_that_may_have_its_order_is_never_killed(
    error: BaseException | None, dismissed: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    ended: list[int] = []
    monkeypatch.setattr("backstay.wiring.worker.dismiss", ended.append)
    worker = Prepared.__new__(Prepared)
    worker.pid, worker.log = 4711, tmp_path / "log"  # type: ignore[operator]
    worker.__exit__(type(error) if error else None, error, None)
    assert ended == ([4711] if dismissed else [])


PRINTING = """
import os, sys
from backstay.cli.output import put
for number in range(3):
    put(f"line {number}", err=ERR)
    if number == 0:
        os.read(0, 1)
os.write(OTHER, b"went on")
"""


@pytest.mark.parametrize("err", [False, True], ids=["stdout", "stderr"])
def test_printing_goes_on_when_its_reader_has_left(err: bool) -> None:
    """And the other stream is still heard."""
    program = PRINTING.replace("ERR", str(err)).replace("OTHER", "1" if err else "2")
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        gone, other = (process.stderr, process.stdout) if err else (process.stdout, process.stderr)
        assert gone is not None and other is not None and process.stdin is not None
        assert gone.readline() == b"line 0\n"
        gone.close()
        process.stdin.write(b"x")
        process.stdin.close()
        assert other.read() == b"went on"
        assert process.wait(20) == 0


def test_a_full_disk_under_the_output_ends_nothing() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-c", PRINTING.replace("ERR", "False").replace("OTHER", "2")],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, b"went on")
