"""Restore a backup somewhere else: into an empty database that somebody names. Touches nothing that is live."""

from __future__ import annotations

from typing import Final

from backstay.domain.backup import Backup
from backstay.domain.secret import Secret
from backstay.domain.verification import Verification, compared
from backstay.errors import BackupFailed, DatabaseError
from backstay.pipeline.dumped import DumpWanted, as_dump
from backstay.pipeline.verify import Ports
from backstay.ports.database import NotEmpty, RestoreOrder

USELESS: Final = "what the target holds now, if anything, is of no use: drop it"


def restore_elsewhere(ports: Ports, backup: Backup, into: Secret, wanted: DumpWanted) -> Verification:
    """Restore into the empty database at `into`, and compare. BackupFailed when that cannot be done, or is not equal.

    Owners and grants are restored where the source's roles are there too, and everything belongs to the role of
    `into` otherwise.
    """
    began, database = ports.clock.monotonic(), ports.database
    try:
        facts = database.facts(into)
        with as_dump(ports, backup, wanted) as dump:
            roles = database.manifest(dump.path)["database"].get("roles") or ()
            owners = facts.is_superuser and set(roles) <= set(facts.roles)
            database.restore(
                RestoreOrder(
                    dump.path, into, wanted.limits, owners=owners, analyze=True, sha256=dump.sha256,
                    identity=dump.identity, stopped=wanted.stopped, tell=wanted.progress,
                )
            )  # fmt: skip
            expected = database.content_of(dump.path)
        found = database.content(into, wanted.limits.deadline_s)
    except NotEmpty as error:
        raise BackupFailed(
            error.message,
            hint="a restore never goes over anything: make an empty database",
            state="nothing was changed",
        ) from error
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
    return proof
