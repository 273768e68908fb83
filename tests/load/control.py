"""Starts the load client in a process of its own, reads along, and stops it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.load.plan import LoadPlan
from tests.load.record import Record, from_fields
from tests.load.report import Report

_ROOT = Path(__file__).resolve().parents[2]
_START_S = 30.0


class LoadError(Exception):
    """The load client itself failed; its numbers mean nothing."""


class Load:
    """One load run as a context manager. Leaving it stops the client and removes its folder."""

    def __init__(self, plan: LoadPlan) -> None:
        self.plan = plan
        self._offset = time.time() - time.monotonic()
        self._folder = Path(tempfile.mkdtemp(prefix="backstay-load-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._records: list[Record] = []
        self._facts: dict[str, object] = {}
        self._position = 0
        self._report: Report | None = None

    @property
    def pid(self) -> int:
        """The process id of the client; raises LoadError before it is started."""
        return self._running().pid

    def now(self) -> float:
        """The wall clock time as the records have it, which no clock adjustment during the run moves."""
        return time.monotonic() + self._offset

    def __enter__(self) -> Self:
        (self._folder / "plan.json").write_text(self.plan.to_json(), encoding="utf-8")
        (self._folder / "records.jsonl").touch()
        command = [
            sys.executable,
            "-m",
            "tests.load.worker",
            str(self._folder),
            str(os.getpid()),
            repr(self._offset),
        ]
        with (self._folder / "worker.log").open("wb") as log:
            # Its own session, so that a Ctrl-C for the tests does not reach it before they stop it.
            self._process = subprocess.Popen(
                command,
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait_until(lambda: bool(self._facts), _START_S, "the load client did not start")
        except BaseException:
            self._end_at_once()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.stop()
        finally:
            self._end_at_once()

    def stop(self) -> Report:
        """Let the requests in flight finish, end the client and return what it saw.

        Takes up to the plan's `timeout_s`. Raises LoadError when the client failed or does not end.
        A second call returns the same report.
        """
        if self._report is None:
            process = self._running()
            self._tell_to_stop(process)
            try:
                process.wait(self.plan.timeout_s + 10)
            except subprocess.TimeoutExpired as error:
                self._end_at_once()
                raise LoadError("the load client did not end when it was told to") from error
            self._read_on()
            self._raise_if_broken()
            if "ended_by" not in self._facts:
                raise LoadError("the load client ended without a last word")
            self._report = self._current()
            self._end_at_once()
        return self._report

    def so_far(self) -> Report:
        """What ended up to about 0.1 s ago; requests in flight are not in it. Raises LoadError."""
        if self._report is None:
            self._read_on()
            self._raise_if_broken()
            return self._current()
        return self._report

    def until(self, wanted: Callable[[Report], bool], within_s: float = 30.0) -> Report:
        """Wait until `wanted` holds for the report so far and return it; LoadError after `within_s`."""
        self._wait_until(lambda: wanted(self._current()), within_s, "the load never saw what was waited for")
        return self._current()

    def _current(self) -> Report:
        lag = self._facts.get("lag_s")
        ended = str(self._facts.get("ended_by", ""))
        return Report(tuple(self._records), ended, lag if isinstance(lag, float) else 0.0)

    def _wait_until(self, done: Callable[[], bool], within_s: float, otherwise: str) -> None:
        deadline = time.monotonic() + within_s
        while True:
            self._read_on()
            if done():
                return
            self._raise_if_broken()
            if time.monotonic() > deadline:
                raise LoadError(f"{otherwise} within {within_s:g} s\n{self._current().table()}")
            time.sleep(0.05)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise LoadError("the load was not started; use it as a context manager")
        return self._process

    def _tell_to_stop(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        try:
            process.stdin.write(b"stop\n")
            process.stdin.flush()
        except BrokenPipeError:
            # It has ended by one of its bounds or a signal, and its last word says which.
            return

    def _read_on(self) -> None:
        if not self._folder.exists():
            return
        with (self._folder / "records.jsonl").open("rb") as file:
            file.seek(self._position)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._position += len(whole)
        for line in whole.splitlines():
            entry = json.loads(line)
            if isinstance(entry, dict):
                self._facts.update(entry)
            else:
                self._records.append(from_fields(entry))

    def _raise_if_broken(self) -> None:
        code = self._running().poll()
        if code in (None, 0):
            return
        log = self._folder / "worker.log"
        said = log.read_text(encoding="utf-8", errors="replace")[-4000:] if log.exists() else ""
        raise LoadError(f"the load client ended with code {code}\n{said}")

    def _end_at_once(self) -> None:
        process = self._process
        if process is not None:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdin is not None and not process.stdin.closed:
                try:
                    process.stdin.close()
                except BrokenPipeError:
                    process.stdin = None
        if self._folder.exists():
            shutil.rmtree(self._folder)
