"""The catalog as the disk shows it, and the removal of backups that nobody needs any more."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from backstay.domain.backup import Backup, as_found
from backstay.domain.retention import Protected, is_frozen, needed, to_prune, waiting
from backstay.errors import BackstayError, DatabaseError
from backstay.ports.database import Database, InUse
from backstay.ports.store import Reader, Store


class Teller(Protocol):
    """Tells people, and the journal when there is one, what happens."""

    def __call__(self, kind: str, message: str, **data: Any) -> None: ...


class Looking(Protocol):
    """What a look at the backups needs of the world."""

    @property
    def store(self) -> Reader: ...
    @property
    def database(self) -> Database: ...


class Ports(Protocol):
    """What a removal needs of the world."""

    @property
    def store(self) -> Store: ...
    @property
    def database(self) -> Database: ...


def as_they_are(store: Reader, database: Database, app: str, environment: str) -> list[Backup]:
    """The catalog, newest first, each entry as its file shows it: a backup that is gone is `damaged`. Only looks.

    A file that may not be looked at counts as what the catalog says; the reason tells.
    """
    return [_looked_at(backup, database) for backup in store.backups(app, environment)]


def prunable(
    ports: Looking,
    app: str,
    environment: str,
    keep: int,
    *,
    made: str | None = None,
    unverified: bool = False,
) -> tuple[Backup, ...]:
    """The backups that `prune` would remove now, oldest first. Only looks."""
    rows = as_they_are(ports.store, ports.database, app, environment)
    return to_prune(rows, keep, _protected(ports, app, environment, rows, made), unverified=unverified)


def prune(
    ports: Ports,
    app: str,
    environment: str,
    keep: int,
    tell: Teller,
    *,
    made: str | None = None,
    unverified: bool = False,
) -> list[Backup]:
    """Remove the backups that nobody needs any more; what was removed. `made` is the one just made, which stays.

    Raises nothing of its own accord: what cannot be removed is told, and tried again after the next backup.
    """
    removed: list[Backup] = []
    try:
        rows = as_they_are(ports.store, ports.database, app, environment)
        protected = _protected(ports, app, environment, rows, made)
        for backup in to_prune(rows, keep, protected, unverified=unverified):
            if _remove(ports, backup, tell):
                removed.append(backup)
        if is_frozen(rows):
            tell("backups_frozen", "no backup is removed: the server's own files were found damaged since")
        elif (left := waiting(rows, keep, protected)) and not unverified:
            tell(
                "backups_waiting",
                f"{left} old backups stay until a newer one is verified: backstay backup verify {environment}",
                count=left,
            )
    except BackstayError as error:
        tell("backup_not_removed", f"old backups stay: {error.message}", hint=error.hint)
    return removed


def _protected(ports: Looking, app: str, environment: str, rows: list[Backup], made: str | None) -> Protected:
    """What must stay: what deployments need, what is being read just now, and the one just made."""
    deployments = needed(ports.store.slots(app, environment), ports.store.history(app, environment))
    used = {row.id for row in rows if row.path and _is_read(ports.database, Path(row.path))}
    return Protected(deployments, used | ({made} if made else set()))


def _is_read(database: Database, path: Path) -> bool:
    try:
        return database.is_read(path)
    except DatabaseError:
        return True  # who may not look does not remove either


def _remove(ports: Ports, backup: Backup, tell: Teller) -> bool:
    try:
        # The entry first: a file without entry costs space, an entry without file would be a lie.
        with ports.database.removal(Path(backup.path)) if backup.path else nullcontext():
            ports.store.remove_backup(backup.id)
    except InUse as error:
        tell("backup_not_removed", error.message, backup=backup.id)
        return False
    tell("backup_removed", f"{backup.id} removed: newer ones are kept", backup=backup.id)
    return True


def _looked_at(backup: Backup, database: Database) -> Backup:
    if not backup.path:
        return backup
    try:
        return as_found(backup, database.size_of(Path(backup.path)))
    except DatabaseError as error:
        return replace(backup, reason=f"{backup.reason}; {error.message}")
