"""Back a database up, alone or as a step of a deployment: dump, catalog, and what the new one makes superfluous."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from backstay.domain.backup import (
    Backup,
    BackupLimits,
    BackupProgress,
    BackupState,
    as_found,
    backup_id,
)
from backstay.domain.retention import needed, to_prune
from backstay.domain.secret import Secret
from backstay.domain.size import format_bytes
from backstay.errors import BackstayError, BackupFailed, DatabaseError
from backstay.pipeline.times import rfc3339
from backstay.ports.clock import Clock
from backstay.ports.database import Database, Dump, DumpOrder, MalformedUrl, NameTaken
from backstay.ports.store import Reader, Store

ONE_MS = timedelta(milliseconds=1)


class Teller(Protocol):
    """Tells people, and the journal when there is one, what happens."""

    def __call__(self, kind: str, message: str, **data: Any) -> None: ...


class Ports(Protocol):
    """What a backup needs of the world."""

    @property
    def store(self) -> Store: ...
    @property
    def database(self) -> Database: ...
    @property
    def clock(self) -> Clock: ...


@dataclass(frozen=True, slots=True)
class BackupOrder:
    """What to back up and how: `folder` is absolute, `keep` how many whole backups stay, `reason` for people."""

    app: str
    environment: str
    url: Secret
    folder: Path
    reason: str
    keep: int
    limits: BackupLimits
    deployment: str | None = None


def back_up(
    ports: Ports,
    order: BackupOrder,
    record: Callable[[Backup], bool],
    tell: Teller,
    *,
    stopped: Callable[[], bool] = lambda: False,
    progress: Callable[[BackupProgress], None] = lambda _: None,
) -> Backup:
    """Make a backup, enter it into the catalog by `record`, then remove those beyond `keep`.

    A failed one is entered too, with its reason. Nothing else can fail afterwards: what cannot be pruned is told.
    `record` is False when its name is in the catalog already. Raises BackupFailed; MalformedUrl before anything
    was begun.
    """
    began = ports.clock.monotonic()
    try:
        at, dump = _dump(ports, order, stopped, progress)
    except MalformedUrl:
        raise
    except DatabaseError as error:
        if not stopped():
            _record(record, _failed(order, ports.clock.now(), error))
        raise BackupFailed(
            f"the backup failed: {error.message}",
            hint=error.hint,
            state="nothing was changed; no file is left",
        ) from error
    backup = _whole(order, at, dump)
    _enter(ports, record, backup)
    for note in dump.notes:
        tell("backup_noted", note, backup=backup.id)
    took_s = ports.clock.monotonic() - began
    tell(
        "backup_made",
        f"{backup.id} ({format_bytes(backup.bytes)}, {backup.state})",
        backup=backup.id,
        bytes=backup.bytes,
        took_s=took_s,
    )
    prune(ports, backup, order.keep, tell)
    return backup


def prune(ports: Ports, made: Backup, keep: int, tell: Teller) -> None:
    """Remove the backups of the environment of `made`, the newest one, that nobody needs any more.

    Raises nothing of its own accord: what cannot be removed is told, and tried again after the next backup.
    """
    app, environment = made.app, made.environment
    try:
        protected = needed(ports.store.slots(app, environment), ports.store.history(app, environment))
        rows = as_they_are(ports.store, ports.database, app, environment)
        for backup in to_prune(rows, keep, protected, made.id):
            # The entry first: a file without entry costs space, an entry without file would be a lie.
            with ports.database.removal(Path(backup.path)) if backup.path else nullcontext():
                ports.store.remove_backup(backup.id)
            tell("backup_removed", f"{backup.id} removed: the newest {keep} are kept", backup=backup.id)
    except BackstayError as error:
        tell("backup_not_removed", f"old backups stay: {error.message}", hint=error.hint)


def as_they_are(store: Reader, database: Database, app: str, environment: str) -> list[Backup]:
    """The catalog, newest first, each entry as its file shows it: a backup that is gone is `damaged`. Only looks.

    A file that may not be looked at counts as what the catalog says; the reason tells.
    """
    return [_looked_at(backup, database) for backup in store.backups(app, environment)]


def _looked_at(backup: Backup, database: Database) -> Backup:
    if not backup.path:
        return backup
    try:
        return as_found(backup, database.size_of(Path(backup.path)))
    except DatabaseError as error:
        return replace(backup, reason=f"{backup.reason}; {error.message}")


def _dump(
    ports: Ports,
    order: BackupOrder,
    stopped: Callable[[], bool],
    progress: Callable[[BackupProgress], None],
) -> tuple[datetime, Dump]:
    """The dump and its moment; a millisecond later when two began in the same one."""
    at = ports.clock.now()
    taken = {backup.id for backup in ports.store.backups(order.app, order.environment)}
    while True:
        id_ = backup_id(order.app, order.environment, at)
        about = {"app": order.app, "environment": order.environment, "created_at": rfc3339(at)}
        job = DumpOrder(order.url, order.folder, id_, about, order.limits, stopped, progress)
        try:
            if id_ not in taken:
                return at, ports.database.dump(job)
        except NameTaken:
            pass
        at += ONE_MS


def _enter(ports: Ports, record: Callable[[Backup], bool], backup: Backup) -> None:
    """Enter a finished backup; without its entry nobody would find, restore or remove it, so it goes too."""
    try:
        if record(backup):
            return
    except BackstayError:
        ports.database.discard(Path(backup.path))
        raise
    ports.database.discard(Path(backup.path))
    raise BackupFailed(f"the catalog has a backup {backup.id} already", hint="try again")


def _whole(order: BackupOrder, at: datetime, dump: Dump) -> Backup:
    return Backup(
        id=backup_id(order.app, order.environment, at),
        app=order.app,
        environment=order.environment,
        created_at=rfc3339(at),
        kind=dump.kind,
        state=BackupState.UNVERIFIED,
        bytes=dump.bytes,
        path=str(dump.path),
        sha256=dump.sha256,
        reason=order.reason,
        deployment=order.deployment,
        content=dump.content is not None,
        encrypted=dump.encrypted,
        database=dump.facts.database if dump.facts else None,
        system_identifier=dump.facts.system_identifier if dump.facts else None,
        server_major=dump.facts.server_major if dump.facts else None,
        wal_lsn=dump.facts.wal_lsn if dump.facts else None,
        read_bytes=dump.read,
        took_s=dump.took_s,
    )


def _failed(order: BackupOrder, at: datetime, error: DatabaseError) -> Backup:
    nothing = Dump(Path(), 0, "")
    reason = f"{order.reason}: {error.message}"
    return replace(_whole(order, at, nothing), state=BackupState.FAILED, path="", reason=reason)


def _record(record: Callable[[Backup], bool], backup: Backup) -> None:
    """Enter a backup under the next free name: it has no files that would carry the first one."""
    while not record(backup):
        at = datetime.fromisoformat(backup.created_at) + ONE_MS
        backup = replace(backup, id=backup_id(backup.app, backup.environment, at), created_at=rfc3339(at))
