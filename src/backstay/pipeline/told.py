"""Progress of long work with a database, as events of the deployment, now and then."""

from __future__ import annotations

from typing import Final

from backstay.domain.backup import BackupProgress
from backstay.pipeline.run import Run

FIRST_S: Final = 5.0
EVERY_S: Final = 10.0
"""What is quick tells nothing, and what is long does not fill the store."""


class Told:
    """Called with the progress a few times per second; `what` (backup, restore) names the event."""

    def __init__(self, run: Run, step: str, what: str) -> None:
        self._run = run
        self._step = step
        self._what = what
        self._next_s = FIRST_S

    def __call__(self, progress: BackupProgress) -> None:
        if progress.elapsed_s < self._next_s:
            return
        self._next_s = progress.elapsed_s + EVERY_S
        self._run.tell(
            f"{self._what}_progress",
            f"{self._what}: {progress}",
            step=self._step,
            written=progress.written,
            database_bytes=progress.database_bytes,
            elapsed_s=round(progress.elapsed_s, 3),
        )
