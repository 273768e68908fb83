"""Files of the state folder whose writer is dead go; everything else stays."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backstay.adapters.files import write_durably
from backstay.adapters.leftovers import QUIET_S, StateFolder

OLD = ("logs/worker-d1.log", "router/shop.dev/.router.map.4711", "process/processes/p1/.state.json.4711")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """What a killed worker, a killed router writer and a killed engine left, and what is to be kept."""
    for name in (*OLD, "router/shop.dev/router.map", "router/shop.dev/.hidden", "logs/other.log", "state.db"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "logs" / "worker-d2.log").write_text("it says something")
    (tmp_path / "process" / "processes" / ".trash-1" / "deep").mkdir(parents=True)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            os.utime(path, (0, time.time() - QUIET_S - 1))
    return tmp_path


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_dead_writers_left_goes_and_nothing_else(home: Path) -> None:
    before = files(home)
    removed = StateFolder(home).sweep()
    assert sorted(removed) == sorted(str(home / name) for name in (*OLD, "process/processes/.trash-1"))
    assert before - files(home) == set(OLD)
    assert not (home / "process" / "processes" / ".trash-1").exists()
    assert StateFolder(home).sweep() == []


def test_what_is_locked_or_fresh_is_being_written(home: Path) -> None:
    locked, fresh = home / OLD[1], home / OLD[2]
    os.utime(fresh)
    with locked.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert StateFolder(home).sweep() == [str(home / OLD[0]), str(home / "process/processes/.trash-1")]
    assert locked.exists() and fresh.exists()


def test_a_folder_that_never_was_is_no_fault(tmp_path: Path) -> None:
    assert StateFolder(tmp_path / "nothing").sweep() == []


def test_whoever_writes_durably_holds_a_lock_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def looked_at(handle: int) -> None:
        with next(tmp_path.glob(".router.map.*")).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                seen.append(True)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda handle: None if seen else looked_at(handle))
        write_durably(tmp_path / "router.map", "token 1\n")
    assert seen == [True] and files(tmp_path) == {"router.map"}


WORKER = """
import os, sys, time
from pathlib import Path
from backstay.adapters.detach import exit_status, fork_detached

def work() -> int:
    os.write(1, sys.argv[2].encode())
    return 7

pid = fork_detached("a worker", work, Path(sys.argv[1]))
while (status := exit_status(pid)) is None:
    time.sleep(0.01)
sys.exit(status)
"""


@pytest.mark.parametrize("says", ["", "a word"])
def test_a_worker_leaves_a_log_only_if_it_had_something_to_say(tmp_path: Path, says: str) -> None:
    """In a process of its own: only one without other threads can be copied."""
    log = tmp_path / "worker-d1.log"
    assert subprocess.run([sys.executable, "-c", WORKER, str(log), says], timeout=20).returncode == 7
    assert log.exists() is bool(says)
