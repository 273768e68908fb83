"""Back the database up before its schema can change."""

from __future__ import annotations

from typing import Any

from backstay.domain.backup import Backup, BackupProgress
from backstay.domain.deployment import Wish
from backstay.domain.step import StepRecord, Truth
from backstay.errors import BackupFailed
from backstay.pipeline.backup import back_up, order_of
from backstay.pipeline.run import Run
from backstay.ports.database import MalformedUrl

FIRST_TOLD_S = 5.0
TOLD_EVERY_S = 10.0
"""Progress as events: a quick backup tells none, and a long one does not fill the store."""


class BackupStep:
    name = "backup"
    title = "back up the database"

    def do(self, run: Run) -> dict[str, Any]:
        source = run.environment.database
        if source is None:
            return {}
        [url] = run.secrets_for([source.backup_url_secret]).values()
        order = order_of(run.environment, url, f"before {run.release.version}", run.id)

        def record(backup: Backup) -> bool:
            known = run.world.store.backups(backup.app, backup.environment)
            if any(each.id == backup.id for each in known):
                return False
            run.world.store.add_backup(run.token, backup)
            return True

        def tell(kind: str, message: str, **data: Any) -> None:
            run.tell(kind, message, step=self.name, **data)

        try:
            made = back_up(
                run.world,
                order,
                record,
                tell,
                stopped=lambda: _is_stopped(run),
                progress=_Told(run, self.name),
            )
        except MalformedUrl as error:
            raise BackupFailed(error.message, hint=error.hint, state="nothing was changed") from error
        except BackupFailed:
            run.heed()
            raise
        return {"backup": made.id, "bytes": made.bytes}

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.NOT_HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """A finished backup is worth keeping whatever became of the deployment; an unfinished one left no file."""


class _Told:
    """Tells progress as events of the deployment, now and then."""

    def __init__(self, run: Run, step: str) -> None:
        self._run = run
        self._step = step
        self._next_s = FIRST_TOLD_S

    def __call__(self, progress: BackupProgress) -> None:
        if progress.elapsed_s < self._next_s:
            return
        self._next_s = progress.elapsed_s + TOLD_EVERY_S
        self._run.tell(
            "backup_progress",
            f"backup: {progress}",
            step=self._step,
            written=progress.written,
            read=progress.read,
            database_bytes=progress.database_bytes,
            elapsed_s=round(progress.elapsed_s, 3),
        )


def _is_stopped(run: Run) -> bool:
    return run.lost.is_set() or run.world.store.wish(run.id) is Wish.ABORT
