"""Back a database up, alone or as a step of a deployment: dump, catalog, and what the new one makes superfluous."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from backstay.domain.backup import (
    Backup,
    BackupKind,
    BackupLimits,
    BackupProgress,
    BackupState,
    alarm,
    backup_id,
    newest_whole,
)
from backstay.domain.environment import Environment
from backstay.domain.secret import Secret
from backstay.domain.size import format_bytes
from backstay.errors import BackstayError, BackupFailed, DatabaseError
from backstay.pipeline.prune import Teller, prune
from backstay.pipeline.times import rfc3339
from backstay.ports.clock import Clock
from backstay.ports.database import Database, Dump, DumpOrder, MalformedUrl, NameTaken, PagesDamaged
from backstay.ports.store import Store

ONE_MS = timedelta(milliseconds=1)


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
    """What to back up and how: `folder` is absolute, `keep` how many backups stay at least, `reason` for people. `kind`
    None: whatever the role may do. `recipients`: age keys to encrypt to."""

    app: str
    environment: str
    url: Secret
    folder: Path
    reason: str
    keep: int
    limits: BackupLimits
    deployment: str | None = None
    kind: BackupKind | None = None
    checksums: bool = True
    recipients: tuple[str, ...] = ()


def order_of(
    environment: Environment, url: Secret, reason: str, deployment: str | None = None
) -> BackupOrder:
    """The order for an environment as it is configured; it has a database."""
    source, policy = environment.database, environment.policy
    return BackupOrder(
        app=environment.app,
        environment=environment.name,
        url=url,
        folder=Path(environment.backups),
        reason=reason,
        keep=policy.keep_backups,
        limits=policy.backup_limits,
        deployment=deployment,
        kind=source.kind if source else None,
        checksums=policy.backup_checksums,
        recipients=source.encrypt_to if source else (),
    )


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
    backup = _entered(
        ports, record, replace(cataloged(order, at, dump), alarm=_alarm(ports, order, at, dump))
    )
    if backup.alarm:
        tell("backup_alarm", f"look at {backup.id}: {backup.alarm}", backup=backup.id)
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
    prune(ports, order.app, order.environment, order.keep, tell, made=backup.id)
    return backup


def _dump(
    ports: Ports,
    order: BackupOrder,
    stopped: Callable[[], bool],
    progress: Callable[[BackupProgress], None],
) -> tuple[datetime, Dump]:
    """The dump and its moment; a millisecond later when two began in the same one."""
    at = ports.clock.now()
    before = ports.store.backups(order.app, order.environment)
    last = newest_whole(before)
    last_logical = newest_whole(b for b in before if b.kind is BackupKind.LOGICAL)
    job = DumpOrder(
        url=order.url,
        folder=order.folder,
        name="",
        limits=order.limits,
        stopped=stopped,
        tell=progress,
        kind=order.kind,
        checksums=order.checksums,
        recipients=order.recipients,
        expected_read=last_logical.read_bytes if last_logical else None,
        expected_bytes=last.bytes if last else None,
    )
    taken = {backup.id for backup in before}
    while True:
        id_ = backup_id(order.app, order.environment, at)
        about = {"app": order.app, "environment": order.environment, "created_at": rfc3339(at)}
        try:
            if id_ not in taken:
                return at, ports.database.dump(replace(job, name=id_, about=about))
        except NameTaken:
            pass
        at += ONE_MS


def _alarm(ports: Ports, order: BackupOrder, at: datetime, dump: Dump) -> str | None:
    """What is odd about a backup that came to be, beside those before it."""
    before = ports.store.backups(order.app, order.environment)
    rows = dump.content.rows if dump.content else None
    return alarm(cataloged(order, at, dump), before, rows, _rows_in_the_last(ports, before))


def _rows_in_the_last(ports: Ports, before: Sequence[Backup]) -> int | None:
    last = newest_whole(b for b in before if b.content)
    if last is None:
        return None
    try:
        content = ports.database.content_of(Path(last.path))
    except DatabaseError:
        return None  # it is damaged, which is told elsewhere
    return content.rows if content else None


def _entered(ports: Ports, record: Callable[[Backup], bool], backup: Backup) -> Backup:
    """Enter a finished backup; without its entry nobody would find, restore or remove it, so it goes too."""
    try:
        if record(backup):
            rows = ports.store.backups(backup.app, backup.environment)
            return next((row for row in rows if row.id == backup.id), backup)
    except BackstayError:
        ports.database.discard(Path(backup.path))
        raise
    ports.database.discard(Path(backup.path))
    raise BackupFailed(f"the catalog has a backup {backup.id} already", hint="try again")


def cataloged(order: BackupOrder, at: datetime, dump: Dump) -> Backup:
    """The catalog's entry for a dump that came to be."""
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
        took_s=dump.took_s or None,
        same_disk=dump.same_disk,
    )


def _failed(order: BackupOrder, at: datetime, error: DatabaseError) -> Backup:
    nothing = Dump(Path(), 0, "")
    reason = f"{order.reason}: {error.message}"
    kind = order.kind or (BackupKind.PHYSICAL if isinstance(error, PagesDamaged) else BackupKind.LOGICAL)
    return replace(
        cataloged(order, at, nothing),
        kind=kind,
        state=BackupState.FAILED,
        path="",
        sha256="",
        reason=reason,
        alarm=error.message if isinstance(error, PagesDamaged) else None,
    )


def _record(record: Callable[[Backup], bool], backup: Backup) -> None:
    """Enter a backup under the next free name: it has no files that would carry the first one."""
    while not record(backup):
        at = datetime.fromisoformat(backup.created_at) + ONE_MS
        backup = replace(backup, id=backup_id(backup.app, backup.environment, at), created_at=rfc3339(at))
