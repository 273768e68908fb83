"""Any backup as a dump of one database: what a restore beside or elsewhere works on.

A physical backup is a whole server. It is started as a scratch server, which verifies it, and the one database is
dumped out of that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backstay.domain.backup import Backup, BackupKind, BackupLimits, BackupProgress
from backstay.domain.secret import Secret
from backstay.errors import BackupFailed, DatabaseError
from backstay.pipeline.verify import Ports, VerifyOrder, restored, scratch_order
from backstay.ports.database import DumpOrder


@dataclass(frozen=True, slots=True)
class DumpWanted:
    """How to get at the dump: `where` is `database.scratch` of the configuration, `identity` the key of an encrypted
    backup."""

    where: str
    limits: BackupLimits
    identity: Secret | None = None
    stopped: Callable[[], bool] = lambda: False
    progress: Callable[[BackupProgress], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class DumpFound:
    """A dump's file; what the catalog says it has, or None; and the key to read it, None when it needs none."""

    path: Path
    sha256: str | None
    identity: Secret | None


@contextmanager
def as_dump(ports: Ports, backup: Backup, wanted: DumpWanted) -> Iterator[DumpFound]:
    """The dump, for as long as the block runs. Raises BackupFailed, also when there is no room for it."""
    if not backup.path:
        raise BackupFailed(f"{backup.id} has no file: it is {backup.state}", hint=backup.reason)
    path = Path(backup.path)
    if backup.kind is BackupKind.LOGICAL:
        yield DumpFound(path, backup.sha256 or None, wanted.identity)
        return
    order = VerifyOrder(
        wanted.where,
        wanted.limits,
        identity=wanted.identity,
        stopped=wanted.stopped,
        progress=wanted.progress,
    )
    with (
        restored(ports, backup, scratch_order(backup, wanted.where), order) as copy,
        tempfile.TemporaryDirectory(prefix=".restore-", dir=path.parent) as folder,
    ):
        try:
            made = ports.database.dump(
                DumpOrder(
                    copy.server.url(copy.database), Path(folder), backup.id, limits=wanted.limits,
                    stopped=wanted.stopped, tell=wanted.progress, kind=BackupKind.LOGICAL,
                )
            )  # fmt: skip
        except DatabaseError as error:
            raise BackupFailed(
                f"{copy.database} could not be taken out of {backup.id}: {error.message}", hint=error.hint
            ) from error
        yield DumpFound(made.path, made.sha256, None)
