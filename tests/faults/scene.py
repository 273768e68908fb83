"""What the stories of this folder have in common: waiting for a moment, and telling what was seen."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backstay.domain.deployment import Deployment
from tests.page import Page
from tests.page.looks import newest, reader
from tests.shop import Answer, workers_of


def wait(true: Callable[[], object], what: str, seconds: float = 30, pause: float = 0.02) -> float:
    """Wait until it is true; the seconds that took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, f"never: {what}"
        time.sleep(pause)
    return time.monotonic() - began


def pair(page: Page) -> tuple[str, str]:
    """The version that serves, and the other one of v1 and v2."""
    serving = reader(page).slots(page.name, "dev").serving
    assert serving is not None
    return serving.version, {"v1": "v2", "v2": "v1"}[serving.version]


@contextmanager
def deploying(page: Page, version: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A deploy that is under way, also of a release that an earlier story had reversed; it has ended afterwards."""
    client = page.start("deploy", "dev", "--version", version, "--force", *words)
    try:
        yield client
    finally:
        client.wait(120)


def switched(page: Page, version: str) -> None:
    """Deploy, and go on as soon as traffic has moved: the bake is under way."""
    answer = page.deploy(version, "--force", "--wait", "switched")
    assert answer.status == 0, told(answer)


def finished(page: Page, seconds: float = 120) -> Deployment:
    """The newest deployment, once it has ended and its worker is gone."""
    wait(lambda: newest(page).state.is_final, "the end of the deployment", seconds)
    wait(lambda: not list(workers_of(page.folder / "h")), "the end of its worker", seconds)
    return newest(page)


def patience() -> float:
    """How many times longer things may take because others work on this machine too."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def reach(page: Page, step: str, *, state: str = "started", seconds: float = 30) -> None:
    """Wait until the newest deployment, which must not have ended, is in this step."""

    def reached() -> bool:
        now = newest(page)
        if now.state.is_final:
            return False
        return any(s.name == step and s.state.value == state for s in reader(page).steps(now.id))

    wait(reached, f"{step} {state}", seconds)


def kill(pid: int) -> None:
    """Afterwards it is dead, and whatever it had open is closed."""
    assert pid > 0, "that would be a whole group of processes, this one among them"
    process = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(process, signal.SIGKILL)
        assert select.select([process], [], [], 30)[0], f"{pid} does not die"
    finally:
        os.close(process)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that does nothing meanwhile."""
    assert pid > 0, "that would be a whole group of processes, this one among them"
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def fill(disk: Path) -> Path:
    """Leave not a byte, whatever others write meanwhile; the file that takes all the room."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(1 << 16))
    return filler


def ended(end: Answer | Deployment) -> tuple[int | None, str]:
    """Exit status and state of a deployment."""
    if isinstance(end, Deployment):
        return end.exit_status, end.state.value
    return end.status, str(end.last.get("state"))


def told(end: Answer | Deployment) -> str:
    """What a person reads: reason and hint of the last line, or the error."""
    if isinstance(end, Deployment):
        return f"{end.reason or ''} {end.hint or ''}".strip()
    document = end.lines[-1] if end.out.strip() else {}
    return " ".join(str(document.get(key) or "") for key in ("reason", "hint")).strip() or end.err.strip()
