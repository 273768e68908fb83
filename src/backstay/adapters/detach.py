"""Starting a process that outlives us: own session, no terminal, output to a log file."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

LEFT_BEHIND = ("RUNNER_TRACKING_ID", "INVOCATION_ID", "JOURNAL_STREAM")
"""Variables by which a CI runner or a service manager finds processes to kill at the end of a job."""


def detach(module: str, arguments: Sequence[str], log: Path, stdin: int | None = None) -> int:
    """Run `python -m MODULE ARGUMENTS` detached; returns its pid. The log is made with mode 0600.

    `stdin` is a file descriptor to read from, in place of nothing to read.
    """
    env = {key: value for key, value in os.environ.items() if key not in LEFT_BEHIND}
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", module, *arguments],
        env,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
            if stdin is None
            else (os.POSIX_SPAWN_DUP2, stdin, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def exit_status(pid: int) -> int | None:
    """Exit status of a detached child of ours that has ended; None while it runs."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def dismiss(pid: int) -> None:
    """Kill a detached child of ours and reap it; nothing happens when it has ended and was reaped already."""
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
