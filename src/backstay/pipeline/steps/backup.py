"""Back the database up before its schema can change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backstay.domain.backup import Backup, BackupState, backup_id
from backstay.domain.deployment import Wish
from backstay.domain.step import StepRecord, Truth
from backstay.errors import BackupFailed, DatabaseError
from backstay.pipeline.run import Run
from backstay.pipeline.times import rfc3339


class BackupStep:
    name = "backup"
    title = "back up the database"

    def do(self, run: Run) -> dict[str, Any]:
        source = run.environment.database
        if source is None:
            return {}
        now = run.world.clock.now()
        id_ = backup_id(run.environment.app, run.environment.name, now)
        path = Path(run.environment.backups) / f"{id_}.dump"
        try:
            dump = run.world.database.dump(
                run.secrets[source.backup_url_secret],
                path,
                lambda: run.lost.is_set() or run.world.store.wish(run.id) is Wish.ABORT,
            )
        except DatabaseError as error:
            run.heed()
            raise BackupFailed(
                f"the backup failed: {error.message}", hint=error.hint, state="nothing was changed"
            ) from error
        run.world.store.add_backup(
            run.token,
            Backup(
                id=id_,
                app=run.environment.app,
                environment=run.environment.name,
                created_at=rfc3339(now),
                kind="logical",
                state=BackupState.UNVERIFIED,
                bytes=dump.bytes,
                path=str(dump.path),
                sha256=dump.sha256,
                reason=f"before {run.release.version}",
                deployment=run.id,
            ),
        )
        run.tell("backup_made", f"{id_} ({dump.bytes} bytes, unverified)", step=self.name, backup=id_)
        return {"backup": id_, "bytes": dump.bytes}

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.NOT_HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """A finished backup is worth keeping whatever became of the deployment; an unfinished one left no file."""
