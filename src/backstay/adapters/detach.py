"""Starting a process that outlives us: own session, no terminal, output to a log file."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from backstay.domain.secret import Secret, redact

LEFT_BEHIND = ("RUNNER_TRACKING_ID", "INVOCATION_ID", "JOURNAL_STREAM")
"""Variables by which a CI runner or a service manager finds processes to kill at the end of a job."""

MOST_FILES = 65536


def detach(module: str, arguments: Sequence[str], log: Path) -> int:
    """Run `python -m MODULE ARGUMENTS` detached; returns its pid. The log is made with mode 0600."""
    env = {key: value for key, value in os.environ.items() if key not in LEFT_BEHIND}
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", module, *arguments],
        env,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def fork_detached(title: str, work: Callable[[], int], log: Path, hidden: Collection[Secret] = ()) -> int:
    """Do `work` in a detached copy of this process, shown as `title` in `ps`; returns its pid.

    The copy needs not import again what this process has imported, which is most of the time a start takes. Its
    exit status is what `work` returns; it never comes back from here. A `log` that stayed empty is removed.
    Variables that hold one of `hidden` stay behind, so that nothing the copy starts inherits them. There must be no
    other thread and no open database here (SQLite's locks do not survive being copied): RuntimeError for what can be
    seen of that. OSError, and no copy, when the log cannot be written.
    """
    if threading.active_count() > 1:
        raise RuntimeError("a process with several threads cannot be copied")
    sys.stdout.flush()
    sys.stderr.flush()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)  # here, where a fault is seen
    gc.freeze()  # what is there already need not be looked at, and so copied, by the copy's collector
    pid = os.fork()
    if pid:
        os.close(output)
        gc.unfreeze()
        return pid
    status = 1
    try:
        gc.enable()  # a command lives too briefly to collect; the copy does not
        _become_detached(title, output)
        _forget(hidden)
        status = work()
    except BaseException:  # noqa: BLE001 - the copy must not run on into the code of the process it came from
        traceback.print_exc()
    with contextlib.suppress(OSError):
        sys.stderr.flush()
        # A log is shared by all workers of a deployment: one that sleeps, and was taken over, may still have to say so.
        fcntl.flock(2, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not log.stat().st_size:
            log.unlink()
    os._exit(status)


def _become_detached(title: str, output: int) -> None:
    import setproctitle

    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(
            number, signal.SIG_DFL
        )  # what they mean to a command that follows is not what they mean here
    null = os.open(os.devnull, os.O_RDONLY)
    with contextlib.suppress(OSError):  # locked, it is not taken for one whose writer died
        fcntl.flock(output, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(3, MOST_FILES)
    for name in LEFT_BEHIND:
        os.environ.pop(name, None)
    setproctitle.setproctitle(title)
    _hide_environment()


def _forget(hidden: Collection[Secret]) -> None:
    for name, value in list(os.environ.items()):
        if redact(value, hidden) != value:
            del os.environ[name]


def _hide_environment() -> None:
    """Wipe what /proc shows of the environment we were started with: a CI runner searches it for processes to kill.

    Only after setproctitle, which has moved the real environment elsewhere. Fields of proc(5): 50 is where the
    environment begins, 51 where it ends.
    """
    import ctypes

    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begins, ends = int(fields[50 - 3]), int(fields[51 - 3])
    if 0 < begins < ends:
        ctypes.memset(begins, 0, ends - begins)


def exit_status(pid: int) -> int | None:
    """Exit status of a detached child of ours that has ended; None while it runs."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def dismiss(pid: int) -> None:
    """Kill a detached child of ours and reap it; nothing happens when it has ended and was reaped already."""
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
