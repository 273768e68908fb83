"""`pg_dump | zstd` into a draft, watched: how far it is, whether anything still comes, whether to stop."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final, Protocol

from backstay.adapters.postgres.tools import failed
from backstay.adapters.postgres.watch import TICK_S, Watch
from backstay.errors import DatabaseError

_CHUNK: Final = 1 << 20
_PIPE_BYTES: Final = 1 << 20
"""The most a pipe of an ordinary user may hold: fewer turns between the two processes."""

END_S: Final = 30.0
"""How long a tool may take to leave after its last byte."""


class Sink(Protocol):
    """Where a stream goes. `written` is what lies on the disk of it."""

    @property
    def written(self) -> int: ...

    def write(self, data: bytes) -> None: ...


@dataclass(slots=True)
class Stream:
    """Commands to run as one pipe, the first in `env`. `read` is what came out of the first one, as far as the kernel
    counts it."""

    commands: Sequence[Sequence[str]]
    env: Mapping[str, str]
    watch: Watch
    read: int | None = None

    def pour(self, into: Sink) -> None:
        """Run to the end of all of them. DatabaseError when one fails, nothing comes any more, or on request.

        OSError when the draft cannot be written. No command is left running in any case.
        """
        with contextlib.ExitStack() as stack:
            tools = [stack.enter_context(tool) for tool in self._started(stack)]
            last = tools[-1].process.stdout
            assert last is not None
            # Alone, pg_dump compresses by itself: what it writes is then not what it read.
            reader = tools[0].process.pid if len(tools) > 1 else None
            self._drain(last, reader, into)
            self.read = _bytes_written_by(reader) or self.read  # it has ended, and nobody has reaped it yet
            for tool in tools:
                tool.await_end()
            _judge(tools)

    def _started(self, stack: contextlib.ExitStack) -> Iterator[_Tool]:
        source: IO[bytes] | None = None
        for argv in self.commands:
            tool = _Tool(argv, self.env if source is None else _bare(self.env), source)
            if source is not None:
                source.close()  # ours; or the first would never learn that the second died
            source = tool.process.stdout
            yield tool

    def _drain(self, pipe: IO[bytes], reader: int | None, into: Sink) -> None:
        next_look = time.monotonic()
        while True:
            if select.select([pipe], [], [], TICK_S)[0]:
                data = os.read(pipe.fileno(), _CHUNK)
                if not data:
                    return
                into.write(data)
            now = time.monotonic()
            if now >= next_look:
                next_look = now + TICK_S
                self.read = _bytes_written_by(reader) or self.read
                self.watch.look(into.written, self.read)


class _Tool:
    """One running command and what it says on standard error. As a context manager it is dead afterwards."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], source: IO[bytes] | None) -> None:
        self.name = Path(argv[0]).name
        self._said = TemporaryFile()  # noqa: SIM115 - not a pipe: a talkative tool would fill it and wait for ever
        try:
            self.process = subprocess.Popen(
                argv,
                env=env,
                stdin=subprocess.DEVNULL if source is None else source,
                stdout=subprocess.PIPE,
                stderr=self._said,
                bufsize=0,
            )
        except OSError as error:
            self._said.close()
            raise DatabaseError(
                f"{argv[0]} cannot be run: {error.strerror}", hint="is it executable?"
            ) from error
        with contextlib.suppress(OSError):
            assert self.process.stdout is not None
            fcntl.fcntl(self.process.stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def __enter__(self) -> _Tool:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process.wait()
        self._said.close()

    def await_end(self) -> None:
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            raise DatabaseError(f"{self.name} wrote everything and does not end") from None

    def failure(self) -> DatabaseError:
        self._said.seek(0)
        return failed(self.name, self.process.returncode, self._said.read(1 << 20))


def _judge(tools: Sequence[_Tool]) -> None:
    """Raise the error of the last tool that failed: when an earlier one dies, a later one only sees an early end
    and ends well; when a later one dies, the earlier ones fail for the broken pipe."""
    for tool in reversed(tools):
        if tool.process.returncode != 0:
            raise tool.failure()


def _bare(env: Mapping[str, str]) -> dict[str, str]:
    """What a compressor needs: nothing that leads to a database."""
    return {key: value for key, value in env.items() if not key.startswith("PG")}


def _bytes_written_by(pid: int | None) -> int | None:
    """What the kernel counted; None where it may not be asked, or the process has ended."""
    if pid is None:
        return None
    try:
        counts = Path(f"/proc/{pid}/io").read_text()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in counts.splitlines() if line.startswith("wchar:")), None)
