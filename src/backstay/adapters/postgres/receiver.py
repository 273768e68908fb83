"""`pg_receivewal` as a process of its own, found again by its folder: it outlives the one who started it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from backstay.adapters.host import PROC, start_time
from backstay.adapters.postgres.connection import environment, password
from backstay.adapters.postgres.tools import find_tool_of, run
from backstay.adapters.postgres.wal_server import PostgresWalServer
from backstay.domain.secret import Secret, redact
from backstay.errors import DatabaseError

TOOL: Final = "pg_receivewal"
LOG: Final = "receiver.log"
BEGIN_S: Final = 15.0
FREE_S: Final = 5.0
"""How long the server may take to see that the receiver before has ended."""
END_S: Final = 10.0
STATUS_S: Final = 1
_POLL_S: Final = 0.05
_WORDS: Final = 300


class PgReceivewal:
    """Implements ports.wal.Receiver."""

    def __init__(self) -> None:
        self._children: dict[Path, int] = {}

    def start(self, url: Secret, slot: str, folder: Path, major: int) -> None:
        if self.is_running(folder):
            return
        tool = find_tool_of(TOOL, major)
        common = ["--no-password", f"--slot={slot}"]
        try:
            # The password lies in a file for as long as this block runs: it is read when the connection is made.
            with environment(url) as env, (folder / LOG).open("wb") as log:
                os.fchmod(log.fileno(), 0o600)
                env["PGAPPNAME"] = f"backstay {slot}"
                _await_free(url, slot)
                run([tool, *common, "--create-slot", "--if-not-exists"], env)
                words = [
                    f"--directory={folder}",
                    "--synchronous",
                    "--no-loop",
                    f"--status-interval={STATUS_S}",
                ]
                pid = _spawn([tool, *common, *words], env, log.fileno())
                self._children[folder] = pid
                _await(pid, url, slot)
        except DatabaseError as error:
            error.message = redact(error.message, [url, password(url)])
            error.args = (error.message,)
            raise
        except OSError as error:
            raise DatabaseError(
                f"cannot write {error.filename or folder}: {error.strerror}",
                hint=f"free space on the disk of {folder}, or mend the folder's owner and mode",
            ) from error

    def is_running(self, folder: Path) -> bool:
        self._reap(folder)
        return any(True for _ in _receivers(folder))

    def last_words(self, folder: Path) -> str:
        try:
            with (folder / LOG).open("rb") as log:
                log.seek(max(0, os.fstat(log.fileno()).st_size - 4096))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        said = [line.strip() for line in lines if line.strip()]
        faults = [line for line in said if "error:" in line or "FATAL" in line]
        return (faults or said or [""])[0].removeprefix(f"{TOOL}: error: ")[:_WORDS]

    def stop(self, folder: Path) -> None:
        for pid, started in list(_receivers(folder)):
            _end(pid, started)
        self._reap(folder)

    def _reap(self, folder: Path) -> None:
        """Let a child of ours that has ended go; of one that somebody else started, its parent or init does."""
        pid = self._children.get(folder)
        if pid is not None and start_time(pid) is None:
            del self._children[folder]
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _spawn(argv: Sequence[str], env: Mapping[str, str], log: int) -> int:
    """Start a process that no terminal and no end of ours takes along; returns its pid."""
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, log, 1),
        (os.POSIX_SPAWN_DUP2, log, 2),
    ]
    return os.posix_spawn(argv[0], list(argv), env, file_actions=actions, setsid=True)


def _await_free(url: Secret, slot: str) -> None:
    """Return once nobody receives by the slot; raises DatabaseError where somebody goes on to."""
    server, until = PostgresWalServer(), time.monotonic() + FREE_S
    while server.position(url, slot, BEGIN_S).active:
        if time.monotonic() > until:
            raise DatabaseError(
                f"replication slot {slot} is active: somebody else receives by it",
                hint="look in pg_stat_replication, and end that receiver",
            )
        time.sleep(_POLL_S)


def _await(pid: int, url: Secret, slot: str) -> None:
    """Return once somebody receives by the slot, which was free and so is the child's, or it has ended."""
    server, until = PostgresWalServer(), time.monotonic() + BEGIN_S
    while start_time(pid) is not None and time.monotonic() < until:
        with contextlib.suppress(DatabaseError):
            if server.position(url, slot, BEGIN_S).active:
                return
        time.sleep(_POLL_S)


def _receivers(folder: Path) -> Iterator[tuple[int, int]]:
    """Pid and start time of those who receive into `folder`, also of one that an earlier process of ours started."""
    wanted = f"--directory={folder}".encode()
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in words and words[0].endswith(TOOL.encode()):
            started = start_time(int(entry.name))
            if started is not None:
                yield int(entry.name), started


def _end(pid: int, started: int) -> None:
    """Ask it to end; it syncs what it has. One that does not hear is killed: all that it confirmed is synced."""
    for number, patience_s in ((signal.SIGINT, END_S), (signal.SIGKILL, END_S)):
        until = time.monotonic() + patience_s
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        while start_time(pid) == started:
            if time.monotonic() > until:
                break
            time.sleep(_POLL_S)
        else:
            return
    raise DatabaseError(f"process {pid} ({TOOL}) does not die", hint=f"look at /proc/{pid}/status")
