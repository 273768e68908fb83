"""Restore a backup somewhere else: into an empty database that somebody names. Touches nothing that is live."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from backstay.domain.backup import Backup, BackupLimits, BackupProgress
from backstay.domain.secret import Secret
from backstay.domain.verification import Verification, compared
from backstay.errors import BackupFailed, DatabaseError
from backstay.ports.clock import Clock
from backstay.ports.database import Database, NotEmpty, RestoreOrder


class Ports(Protocol):
    """What it needs."""

    @property
    def database(self) -> Database: ...
    @property
    def clock(self) -> Clock: ...


def restore_elsewhere(
    ports: Ports,
    backup: Backup,
    into: Secret,
    limits: BackupLimits,
    stopped: Callable[[], bool] = lambda: False,
    progress: Callable[[BackupProgress], None] = lambda _: None,
    identity: Secret | None = None,
) -> Verification:
    """Restore into the empty database at `into`, and compare. BackupFailed when that cannot be done, or is not equal.

    Owners and grants are restored where the source's roles are there too, and everything belongs to the role of
    `into` otherwise.
    """
    path, began = Path(backup.path), ports.clock.monotonic()
    if not backup.path:
        raise BackupFailed(f"{backup.id} has no file: it is {backup.state}", hint=backup.reason)
    try:
        facts = ports.database.facts(into)
        roles = ports.database.manifest(path)["database"].get("roles") or ()
        owners = facts.is_superuser and set(roles) <= set(facts.roles)
        ports.database.restore(
            RestoreOrder(path, into, limits, owners=owners, analyze=True, sha256=backup.sha256 or None,
                         identity=identity, stopped=stopped, tell=progress)
        )  # fmt: skip
        expected = ports.database.content_of(path)
        found = ports.database.content(into, limits.deadline_s)
    except NotEmpty as error:
        raise BackupFailed(
            error.message,
            hint="a restore never goes over anything: make an empty database",
            state="nothing was changed",
        ) from error
    except DatabaseError as error:
        raise BackupFailed(
            error.message, hint=error.hint, state="what the target holds now is of no use: drop it"
        ) from error
    proof = compared(backup.id, expected, found, with_owners=owners, took_s=ports.clock.monotonic() - began)
    if expected is not None and not proof.ok:
        raise BackupFailed(
            f"what was restored is not what {backup.id} must hold: {proof.reason}",
            hint="use another backup: backstay backup list",
            state="what the target holds now is of no use: drop it",
        )
    return proof
