"""One database out of a physical backup: a logical one, which `backup restore` takes like any other.

A physical backup is of a whole server, so nothing of it fits into the place of one database of a server that lives on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from backstay.domain.backup import Backup, BackupKind, backup_id
from backstay.errors import BackupFailed, DatabaseError
from backstay.pipeline.backup import ONE_MS, BackupOrder, cataloged
from backstay.pipeline.prune import Teller
from backstay.pipeline.times import rfc3339
from backstay.pipeline.verify import Ports, VerifyOrder, restored, scratch_order
from backstay.ports.database import DumpOrder


@dataclass(frozen=True, slots=True)
class ExtractOrder:
    """How to verify the physical backup on the way, and how the logical one is to be made."""

    verify: VerifyOrder
    backup: BackupOrder


def as_logical(ports: Ports, backup: Backup, order: ExtractOrder, tell: Teller) -> Backup:
    """A logical backup of the same moment; `backup` itself when it is one. Raises BackupFailed.

    The copy is started and compared in a scratch server, as every verification does, and dumped from there.
    """
    if backup.kind is BackupKind.LOGICAL:
        return backup
    tell("backup_extracting", f"starting a copy of the whole server of {backup.id}, to take its database out")
    with restored(ports, backup, scratch_order(backup, order.verify.where), order.verify) as copy:
        at = datetime.fromisoformat(backup.created_at)
        taken = {row.id for row in ports.store.backups(backup.app, backup.environment)}
        while (id_ := backup_id(backup.app, backup.environment, at)) in taken:
            at += ONE_MS
        wanted = order.backup
        about = {"app": backup.app, "environment": backup.environment, "created_at": rfc3339(at)}
        job = DumpOrder(
            copy.server.url(copy.database), wanted.folder, id_, about, wanted.limits, order.verify.stopped,
            order.verify.progress, recipients=wanted.recipients,
        )  # fmt: skip
        try:
            dump = ports.database.dump(job)
        except DatabaseError as error:
            raise BackupFailed(
                f"the database could not be taken out of {backup.id}: {error.message}",
                hint=error.hint,
                state="nothing was changed",
            ) from error
    made = cataloged(replace(wanted, reason=f"out of {backup.id}"), at, dump)
    if not ports.store.record_backup(made):
        ports.database.discard(Path(made.path))
        raise BackupFailed(f"the catalog has a backup {made.id} already", hint="try again")
    tell("backup_extracted", f"{made.id} holds the database of {backup.id}", backup=made.id)
    return made


def dump_of(backup: Backup) -> Path:
    """The file to restore from. Raises BackupFailed where there is none, or it is of a whole server."""
    if not backup.path:
        raise BackupFailed(f"{backup.id} has no file: it is {backup.state}", hint=backup.reason)
    if backup.kind is not BackupKind.LOGICAL:
        raise BackupFailed(
            f"{backup.id} is of a whole server, not of one database",
            hint="backstay backup restore takes the database out of it first",
        )
    return Path(backup.path)
