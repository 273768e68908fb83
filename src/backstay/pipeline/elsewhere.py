"""Restore a backup somewhere else: into an empty database that somebody names. Touches nothing that is live."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from backstay.domain.backup import Backup, BackupLimits, BackupProgress
from backstay.domain.content import Content
from backstay.domain.secret import Secret
from backstay.domain.verification import Verification, compared
from backstay.errors import BackupFailed, DatabaseError, UsageError
from backstay.pipeline.extract import dump_of
from backstay.pipeline.verify import Ports
from backstay.ports.database import Damaged, Database, MalformedUrl, NotEmpty, RestoreOrder

UNTOUCHED: Final = "nothing was changed"
USELESS: Final = "what the target holds now, if anything, is of no use: drop it"


@dataclass(frozen=True, slots=True)
class ElsewhereOrder:
    """The URL of the empty database, and the key of an encrypted backup. `progress` is told how far it is, a few times
    per second. `named` says where the URL stands."""

    into: Secret
    limits: BackupLimits
    identity: Secret | None = None
    progress: Callable[[BackupProgress], None] = lambda _: None
    named: str = "the URL"


def restore_elsewhere(ports: Ports, backup: Backup, order: ElsewhereOrder) -> Verification:
    """Restore, and compare. BackupFailed when that cannot be done, or is not equal; UsageError for a URL that is none.

    Owners and grants are restored where the source's roles are there too, and everything belongs to the role of
    the URL otherwise. The notes name settings of the database that could not be made there.
    """
    began, database = ports.clock.monotonic(), ports.database
    dump = dump_of(backup)
    owners, expected = _looked(database, dump, order)
    try:
        left_out = database.restore(
            RestoreOrder(
                dump, order.into, order.limits, owners=owners, subscriptions=owners, properties=True, analyze=True,
                sha256=backup.sha256 or None, identity=order.identity, tell=order.progress,
            )
        )  # fmt: skip
        found = database.content(order.into, order.limits.deadline_s)
    except NotEmpty as error:
        raise BackupFailed(
            error.message,
            hint="a restore never goes over anything: make an empty database",
            state=UNTOUCHED,
        ) from error
    except Damaged as error:
        raise BackupFailed(error.message, hint=error.hint, state=UNTOUCHED) from error
    except DatabaseError as error:
        raise BackupFailed(error.message, hint=error.hint, state=USELESS) from error
    took_s = ports.clock.monotonic() - began
    proof = compared(backup.id, expected, found, with_owners=owners, took_s=took_s)
    if expected is not None and not proof.ok:
        raise BackupFailed(
            f"what was restored is not what {backup.id} must hold: {proof.reason}",
            hint="use another backup: backstay backup list",
            state=USELESS,
        )
    return replace(proof, notes=(*proof.notes, *left_out))


def _looked(database: Database, dump: Path, order: ElsewhereOrder) -> tuple[bool, Content | None]:
    """Whether owners and grants can be restored, and what the backup must hold; asked before anything is written."""
    try:
        facts = database.facts(order.into)
        roles = database.manifest(dump)["database"].get("roles") or ()
        return facts.is_superuser and set(roles) <= set(facts.roles), database.content_of(dump)
    except MalformedUrl as error:
        raise UsageError(
            f"{order.named}: {error.message}",
            hint=f"mend {order.named}: postgresql://USER:PASSWORD@HOST:PORT/NAME",
            state=UNTOUCHED,
        ) from error
    except DatabaseError as error:
        raise BackupFailed(error.message, hint=error.hint, state=UNTOUCHED) from error
