"""A detached process is tied to nothing of ours: not the session, not the terminal, not the log's reader."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from backstay.adapters.detach import LEFT_BEHIND, detach, exit_status, fork_detached

STORY = """
import os, sys
print("out", os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid(), sys.argv[1:], flush=True)
print("err", sorted(k for k in os.environ if k in ("KEPT", "RUNNER_TRACKING_ID", "INVOCATION_ID")),
      file=sys.stderr, flush=True)
print("in", repr(sys.stdin.read()))
print("open", sorted(int(n) for n in os.listdir("/proc/self/fd"))[:4])
try:
    open("/dev/tty")
except OSError as error:
    print("tty", error.errno)
sys.exit(7)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "detached_story.py").write_text(STORY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "detached_story"


def ended(pid: int) -> int:
    deadline = time.monotonic() + 20
    while (status := exit_status(pid)) is None:
        assert time.monotonic() < deadline, "the detached process did not end"
        time.sleep(0.01)
    return status


def test_it_has_a_session_and_a_group_of_its_own_and_no_terminal(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEPT", "1")
    for name in LEFT_BEHIND:
        monkeypatch.setenv(name, "1")
    log = tmp_path / "worker.log"
    read, write = os.pipe()
    try:
        assert ended(detach(module, ["one", "two words"], log)) == 7
    finally:
        os.close(read)
        os.close(write)
    said = dict(line.split(" ", 1) for line in log.read_text().splitlines())
    assert said["out"] == "True True ['one', 'two words']"
    assert said["err"] == "['KEPT']"
    assert said["in"] == "''"
    assert said["open"] == "[0, 1, 2, 3]", "3 is the listing itself: nothing of ours was inherited"
    assert said["tty"] == "6"


def test_the_log_is_for_its_owner_and_grows(module: str, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    for _ in range(2):
        ended(detach(module, [], log))
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert log.read_text().count("out ") == 2


def test_while_it_runs_it_has_no_exit_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "waits.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    pid = detach("waits", [], tmp_path / "log")
    try:
        assert exit_status(pid) is None
    finally:
        os.kill(pid, 9)
    assert ended(pid) == -9


def test_a_copy_of_us_is_as_detached_and_shows_no_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing by which a CI runner finds processes to kill, and no secret of ours, is left to be seen."""
    log = tmp_path / "worker.log"
    program = f"""
import os, subprocess, sys, time
from pathlib import Path
from backstay.adapters.detach import exit_status, fork_detached
from backstay.domain.secret import Secret
def work():
    print("session", os.getsid(0) == os.getpid())
    print("variable", os.environ.get("RUNNER_TRACKING_ID"), os.environ["KEPT"])
    print("title", Path("/proc/self/cmdline").read_bytes().rstrip(b"\\0").decode())
    print("shown", Path("/proc/self/environ").read_bytes().strip(bytes(1)))
    print("inherited", subprocess.run(["sh", "-c", "echo $KEPT$RUNNER_TRACKING_ID"], capture_output=True).stdout)
    print("hidden", "STORE" in os.environ, subprocess.run(["printenv", "STORE"], capture_output=True).stdout)
    print("open", sorted(int(n) for n in os.listdir("/proc/self/fd"))[:4])
    return 7
held = open(os.devnull)
pid = fork_detached("backstay worker story", work, Path({str(log)!r}), [Secret("pass:word"), Secret("y")])
while (status := exit_status(pid)) is None:
    time.sleep(0.01)
print(status)
"""
    env = {**os.environ, "RUNNER_TRACKING_ID": "1", "KEPT": "yes", "STORE": "postgresql://u:pass:word@h/d"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "7\n" and done.stderr == ""
    said = dict(line.split(" ", 1) for line in log.read_text().splitlines())
    assert said == {
        "session": "True",
        "variable": "None yes",
        "title": "backstay worker story",
        "shown": "b''",
        "inherited": "b'yes\\n'",
        "hidden": "False b''",
        "open": "[0, 1, 2, 3]",
    }
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_copy_that_had_nothing_to_say_leaves_no_log(tmp_path: Path) -> None:
    program = f"""
import time
from pathlib import Path
from backstay.adapters.detach import exit_status, fork_detached
log = Path({str(tmp_path / "log")!r})
pid = fork_detached("story", lambda: 0 if log.exists() else 1, log)
while (status := exit_status(pid)) is None:
    time.sleep(0.01)
print(status, log.exists())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "0 False\n"


def test_what_goes_wrong_in_a_copy_stays_there(tmp_path: Path) -> None:
    program = f"""
import time
from pathlib import Path
from backstay.adapters.detach import exit_status, fork_detached
pid = fork_detached("story", lambda: 1 // 0, Path({str(tmp_path / "log")!r}))
while (status := exit_status(pid)) is None:
    time.sleep(0.01)
print("parent", status)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "parent 1\n" and done.stderr == ""
    assert "ZeroDivisionError" in (tmp_path / "log").read_text()


def test_a_process_with_threads_is_not_copied(tmp_path: Path) -> None:
    ends = threading.Event()
    thread = threading.Thread(target=ends.wait)
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="threads"):
            fork_detached("story", lambda: 0, tmp_path / "log")
    finally:
        ends.set()
        thread.join()
