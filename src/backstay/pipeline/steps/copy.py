"""Copy the database while nobody writes: the way back from a migration that the old release cannot live with.

A copy on the same server is made many times faster than a dump could be restored, and going back to it is two renames.
The verified backup was made before, and stays.
"""

from __future__ import annotations

from typing import Any

from backstay.domain.restore import Role
from backstay.domain.step import StepRecord, Truth
from backstay.errors import BackupFailed, DatabaseError, StepFailed
from backstay.pipeline.live import has_begun, live_of
from backstay.pipeline.run import Run


class CopyStep:
    name = "copy"
    title = "copy the database while nobody writes"

    def do(self, run: Run) -> dict[str, Any]:
        live = live_of(run)
        mark = live.mark(Role.BEFORE)
        began = run.world.clock.monotonic()
        try:
            ended = live.cluster.copy(mark, run.environment.policy.backup_deadline_s)
        except DatabaseError as error:
            raise BackupFailed(
                f"the database could not be copied: {error.message}",
                hint=error.hint,
                state="nothing was migrated",
            ) from error
        live.tell_ended(ended, self.name)
        took_s = run.world.clock.monotonic() - began
        run.tell("database_copied", f"{live.name} as it was stands beside it as {mark.name}", step=self.name,
                 database=mark.name, took_s=took_s)  # fmt: skip
        return {"copy": mark.name}

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.UNKNOWN

    def undo(self, run: Run, record: StepRecord) -> None:
        """Put the copy in the live one's place if a migration may have begun; else there is nothing to take back.

        What is taken out stays on the server as well, for whoever wants to see what the migration did.
        """
        live = live_of(run)
        live.cluster.settle(run.id)
        copy = live.mark(Role.BEFORE)
        if not record.result.get("copy") or not has_begun(run, "migrate"):
            live.cluster.drop(copy)
            return
        failed = live.mark(Role.FAILED)
        if not live.cluster.exists(copy.name):
            if live.cluster.exists(failed.name):
                return  # an earlier attempt got this far
            raise StepFailed(
                f"the copy {copy.name} is gone, so the migration cannot be taken back",
                hint=f"backstay backup restore {run.environment.name} {run.result('backup').get('backup', 'ID')}",
            )
        ended = live.cluster.swap(copy.name, failed, None, run.environment.policy.backup_deadline_s)
        live.tell_ended(ended, self.name)
        run.tell(
            "database_restored",
            f"{live.name} is what it was before the migration; the migrated one is {failed.name}",
            step=self.name,
            database=failed.name,
        )
