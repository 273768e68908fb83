"""Restore a backup into a new database beside the live one, prove it equal, and count what the swap would cost.

The live database is only read. Law 7: more than was accepted, and nothing goes on.
"""

from __future__ import annotations

from typing import Any

from backstay.domain.backup import Backup
from backstay.domain.content import Content
from backstay.domain.deployment import Wish
from backstay.domain.restore import Loss, Role, differing, exceeds, too_much
from backstay.domain.step import StepRecord, Truth
from backstay.domain.verification import compared
from backstay.errors import BackupFailed, DatabaseError
from backstay.pipeline.extract import dump_of
from backstay.pipeline.live import Live, live_of
from backstay.pipeline.run import Run
from backstay.pipeline.told import Told
from backstay.ports.database import RestoreOrder


class RestoreStep:
    name = "restore"
    title = "restore the backup beside the live database"

    def do(self, run: Run) -> dict[str, Any]:
        live, backup = live_of(run), backup_of(run)
        try:
            for note in live.cluster.refuse_unfit(live.name):
                run.tell("database_noted", note, step=self.name)
            return self._restore(run, live, backup)
        except DatabaseError as error:
            run.heed()
            raise BackupFailed(
                error.message, hint=error.hint, state="the live database was not touched"
            ) from error

    def _restore(self, run: Run, live: Live, backup: Backup) -> dict[str, Any]:
        mark, url = live.mark(Role.RESTORED), live.url(Role.RESTORED)
        limits, began = run.environment.policy.backup_limits, run.world.clock.monotonic()
        source, database, dump = run.environment.database, run.world.database, dump_of(backup)
        live.cluster.create(mark)
        database.restore(
            RestoreOrder(
                dump, url, limits, analyze=True, sha256=backup.sha256 or None,
                identity=source.identity_in(run.secrets) if source else None,
                stopped=lambda: is_stopped(run), tell=Told(run, self.name, "restore"),
            )
        )  # fmt: skip
        expected = database.content_of(dump)
        run.heed()
        found = database.content(url, limits.deadline_s)
        took_s = run.world.clock.monotonic() - began
        proof = compared(backup.id, expected, found, with_owners=True, took_s=took_s)
        if not proof.ok:
            raise BackupFailed(
                f"what was restored is not what {backup.id} must hold: {proof.reason}",
                hint="use another backup: backstay backup list",
                state="the live database was not touched",
            )
        run.tell(
            "database_restored_beside",
            f"{backup.id} is restored as {mark.name} and equal: {proof.tables} tables, {proof.rows} rows",
            step=self.name, database=mark.name, rows=proof.rows, tables=proof.tables, took_s=took_s,
        )  # fmt: skip
        writes = live.cluster.writes(live.name)
        loss = count_loss(run, live, found)
        refuse_too_much(run, backup, loss)
        return {"database": mark.name, "proof": proof.as_document(), "writes": writes, "loss": loss.as_json()}

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.UNKNOWN

    def undo(self, run: Run, record: StepRecord) -> None:
        """Drop what was restored: once swapped back, or never swapped, it is of no use to anybody."""
        live = live_of(run)
        live.cluster.settle(run.id)
        live.cluster.drop(live.mark(Role.RESTORED))


def backup_of(run: Run) -> Backup:
    """The catalog's entry of the backup that the plan names. BackupFailed when it is gone by now."""
    wanted = run.plan.restoration.backup if run.plan.restoration else ""
    environment = run.environment
    for backup in run.world.store.backups(environment.app, environment.name):
        if backup.id == wanted:
            return backup
    raise BackupFailed(f"the catalog has no backup {wanted}", hint=f"backstay backup list {environment.name}")


def count_loss(run: Run, live: Live, restored: Content) -> Loss:
    """What the swap would change now, row by row. `restored` is the content of the restored database."""
    limit_s = run.environment.policy.backup_deadline_s
    now = run.world.database.content(live.admin, limit_s)
    tables = differing(now, restored)
    if not tables:
        return Loss()
    url = live.url(Role.RESTORED)
    loss = live.cluster.loss(live.admin, url, tables, limit_s, lambda: is_stopped(run))
    run.tell(
        "loss_counted",
        f"{loss.rows} rows were written since: {loss}",
        step=RestoreStep.name,
        **loss.as_json(),
    )
    return loss


def refuse_too_much(run: Run, backup: Backup, loss: Loss) -> None:
    """Law 7."""
    accepted = run.plan.restoration.accept_loss if run.plan.restoration else None
    if not exceeds(loss, accepted):
        return
    refusal = too_much(loss, accepted, run.environment.name, backup.id, None)
    raise BackupFailed(refusal.why, hint=refusal.hint, state="the live database is as it was")


def is_stopped(run: Run) -> bool:
    return run.lost.is_set() or run.world.store.wish(run.id) is Wish.ABORT
