"""The parent of one process: starts it, keeps its output, and records how it ended.

Run as `python -m backstay.adapters.process.supervisor NAME`, with an order (JSON) on stdin. Standard library only. It
leaves whoever started it at once, so that a deployment's end, or its death, changes nothing; and it adopts whatever
the program leaves behind (it is their "subreaper", prctl(2)), so that nothing outlives the program. Should it be
killed itself, the kernel kills the program with it.

Answers one line on stdout: `{}` once the program runs, else `{"error": …}`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from backstay.adapters.files import write_durably
from backstay.adapters.host import boot_id, start_time
from backstay.adapters.process.kin import descendants
from backstay.adapters.process.output import Output
from backstay.adapters.process.records import EXIT, LOG, STATE

_CHUNK: Final = 64 * 1024
_CLEARED_S: Final = 5.0
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_SIGNALLED: Final = 128
"""A program that a signal ended has this plus the signal's number as its exit code, as in a shell."""


def main() -> int:
    order = json.load(sys.stdin)
    if os.fork():
        # Nobody waits for us but the process that started us; the child has no parent to answer to.
        os._exit(0)
    os.setsid()
    return Supervisor(order).run(order["lock"])


class Supervisor:
    """One program from its start to its recorded end."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.folder = Path(order["folder"])
        self.started_at = _now()
        self.pid = 0
        self.exit_code: int | None = None
        self.libc = ctypes.CDLL(None, use_errno=True)

    def run(self, lock: int) -> int:
        """Start the program and stay until it ended. `lock` is closed as soon as the start is on record."""
        self.libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        wake = self._heed_signals()
        self._record_state()
        os.close(lock)
        reading, writing = os.pipe()
        try:
            self._start(writing)
        except OSError as error:
            _answer({"error": f"{error.strerror or error}", "what": error.filename})
            return 1
        os.close(writing)
        self._record_state()
        _answer({})
        self._watch(reading, wake)
        return 0

    def _start(self, output: int) -> None:
        """Start the program in a session of its own. OSError when there is no such program, folder or user."""
        identity = self.order["identity"] or {}
        self.program = subprocess.Popen(
            self.order["argv"],
            env=self.order["env"],
            cwd=self.order["cwd"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            user=identity.get("uid"),
            group=identity.get("gid"),
            extra_groups=identity.get("groups"),
            # After the change of user, which would undo it.
            preexec_fn=self._die_with_me(os.getpid()),
        )
        self.pid = self.program.pid

    def _die_with_me(self, parent: int) -> Callable[[], None]:
        prctl = self.libc.prctl

        def ask() -> None:
            for number in (signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(_SIGNALLED + signal.SIGKILL)

        return ask

    def _watch(self, output: int, wake: socket.socket) -> None:
        """Copy the output until the program ended, then end what it left behind and record the exit code."""
        os.set_blocking(output, False)
        log = Output(self.folder / LOG)
        waiting: list[Any] = [output, wake]
        while self.exit_code is None:
            for ready in select.select(waiting, (), ())[0]:
                if ready is wake:
                    wake.recv(_CHUNK)
                    self._reap()
                elif not self._copy(output, log):
                    waiting.remove(output)
        self._clear()
        while self._copy(output, log):
            pass
        with contextlib.suppress(FileNotFoundError):  # somebody removed the whole process meanwhile
            write_durably(self.folder / EXIT, json.dumps({"exit_code": self.exit_code, "ended_at": _now()}))

    def _copy(self, output: int, log: Output) -> bool:
        """Copy what can be read now; False at the end, or when there is nothing more yet."""
        try:
            data = os.read(output, _CHUNK)
        except BlockingIOError:
            return False
        log.write(data)
        return bool(data)

    def _reap(self) -> None:
        """Take note of every child that ended: the program, and what others left to us."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid == self.pid:
                    code = os.waitstatus_to_exitcode(status)
                    self.exit_code = self.program.returncode = code if code >= 0 else _SIGNALLED - code

    def _clear(self) -> None:
        """Kill what the program left behind, until nothing is left."""
        end = time.monotonic() + _CLEARED_S
        while (left := descendants(os.getpid())) and time.monotonic() < end:
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            self._reap()
            time.sleep(0.005)

    def _heed_signals(self) -> socket.socket:
        """Outlive terminals; pass a polite kill on to the program. Returns what becomes readable at any signal."""
        waker, wake = socket.socketpair()
        for end in (waker, wake):
            end.setblocking(False)
        self._waker = waker
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._pass_on)
        return wake

    def _pass_on(self, number: int, frame: object) -> None:
        if self.pid and self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _record_state(self) -> None:
        state = {
            "supervisor": _mark(os.getpid()),
            "program": _mark(self.pid) if self.pid else None,
            "started_at": self.started_at,
        }
        write_durably(self.folder / STATE, json.dumps(state))


def _mark(pid: int) -> dict[str, Any]:
    # A program that ended at once is a zombie without a start time; 0 is nobody's.
    return {"pid": pid, "started": start_time(pid) or 0, "boot_id": boot_id()}


def _answer(answer: dict[str, Any]) -> None:
    """Say it to whoever started us, and let go of them: they may be gone already."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(answer).encode() + b"\n")
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):
        os.dup2(null, fd)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


if __name__ == "__main__":
    sys.exit(main())
