"""Writes one line per request, in the client's process, and ends the run at its bound of requests."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.load.judge import Verdict
from tests.load.record import Record


class Recorder:
    """Appends records to a file. `offset` is what to add to the monotonic clock to get wall clock time."""

    def __init__(self, path: Path, offset: float, limit: int, at_limit: Callable[[], None]) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._offset = offset
        self._limit = limit
        self._at_limit = at_limit
        self._count = 0

    def add(
        self, kind: str, path: str, verdict: Verdict, start: float, took: float, routed: float | None = None
    ) -> None:
        """Record one request that began at `start` (monotonic seconds); raises OSError on a full disk."""
        line = Record(
            start + self._offset,
            took,
            kind,
            path,
            verdict.release,
            verdict.outcome,
            verdict.status,
            (start if routed is None else routed) + self._offset,
            verdict.detail,
        ).to_line()
        self._file.write(line + "\n")
        self._count += 1
        if self._count == self._limit:
            self._at_limit()

    def note(self, **facts: object) -> None:
        """Write a line about the run itself, at once."""
        self._file.write(json.dumps(facts) + "\n")
        self.flush()

    def flush(self) -> None:
        """Make everything recorded so far visible to the reader of the file."""
        self._file.flush()

    def close(self) -> None:
        """Flush and close the file."""
        self._file.close()
