"""Looking before a restore: which backup, may it take the live one's place, and the least that would be lost.

Reads only; nothing is restored yet, so rows cannot be compared one by one: `RestoreStep` does that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from backstay.domain.backup import Backup
from backstay.domain.environment import Environment
from backstay.domain.restore import Loss, Refusal, Target, exceeds, least_rows, refuse
from backstay.domain.secret import Secret
from backstay.errors import BackupFailed, DatabaseError, UsageError
from backstay.ports.database import Database
from backstay.ports.store import Reader


class Ports(Protocol):
    """What a look needs."""

    @property
    def store(self) -> Reader: ...
    @property
    def database(self) -> Database: ...


@dataclass(frozen=True, slots=True)
class Restorable:
    """A backup and the live database, compared. `least`: what would be lost at least; None when it was not looked at,
    since the backup may not be restored here anyhow. `transactions`: how many the whole server has begun since."""

    backup: Backup
    refusal: Refusal | None
    least: Loss | None = None
    transactions: int | None = None

    def as_document(self) -> dict[str, Any]:
        return {
            "backup": self.backup.id,
            "created_at": self.backup.created_at,
            "ok": self.refusal is None,
            "reason": self.refusal.why if self.refusal else None,
            "hint": self.refusal.hint if self.refusal else None,
            "least_loss": self.least.as_json() if self.least else None,
            "transactions_since": self.transactions,
        }


def find_backup(store: Reader, app: str, environment: str, id_: str) -> Backup:
    """The catalog's entry. UsageError that names where to look when there is none."""
    for backup in store.backups(app, environment):
        if backup.id == id_:
            return backup
    raise UsageError(
        f"{environment} has no backup {id_}", hint=f"backstay backup list {environment} shows what there is"
    )


def look(
    ports: Ports,
    environment: Environment,
    backup: Backup,
    live: Secret,
    environments: Sequence[str],
    accepted: int | None,
) -> Restorable:
    """Compare. `live` is the URL of the live database, `environments` all that there are. BackupFailed when the
    database does not answer."""
    try:
        facts = ports.database.facts(live)
        others = [
            name
            for name in environments
            if name != environment.name
            and any(
                (row.system_identifier, row.database) == (facts.system_identifier, facts.database)
                for row in ports.store.backups(environment.app, name)
                if row.system_identifier
            )
        ]
        refusal = refuse(backup, Target(environment.app, environment.name, facts, others))
        if refusal is not None:
            return Restorable(backup, refusal)
        least = _least(ports, environment, backup, live)
        was = ports.database.manifest(Path(backup.path))["database"].get("xid")
    except DatabaseError as error:
        raise BackupFailed(error.message, hint=error.hint, state="nothing was changed") from error
    since = None if facts.xid is None or was is None else max(0, facts.xid - int(was))
    return Restorable(backup, _too_much(environment, backup, least, accepted, since), least, since)


def _least(ports: Ports, environment: Environment, backup: Backup, live: Secret) -> Loss:
    then = ports.database.content_of(Path(backup.path))
    if then is None or not then.exact:
        return Loss()  # of a physical backup numbers are known only once it is restored
    return least_rows(ports.database.content(live, environment.policy.backup_deadline_s), then)


def _too_much(
    environment: Environment, backup: Backup, least: Loss, accepted: int | None, since: int | None
) -> Refusal | None:
    """Law 7. Who accepts a number, be it 0, has the loss counted exactly, and is refused then if it is greater."""
    if accepted is not None or not exceeds(least, accepted):
        return None
    at_most = "" if since is None else f" (in at most {since} transactions of the whole server)"
    return Refusal(
        f"{environment.name} was written to since {backup.id}{at_most}: at least {least.rows} rows would change: "
        f"{least}",
        f"backstay backup restore {environment.name} {backup.id} --accept-loss N goes on if no more than N rows "
        "change; with 0 they are counted exactly, and nothing is replaced",
    )
