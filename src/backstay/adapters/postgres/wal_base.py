"""Where a physical backup stands in the write-ahead log, from its manifest."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from backstay.adapters.postgres.manifest import read_manifest
from backstay.domain.backup import WHOLE, Backup, BackupKind
from backstay.domain.wal import Base, parse_lsn
from backstay.errors import DatabaseError


def base_of(backup: Backup) -> Base | None:
    """The positions of a physical backup that is whole; None for any other, and when its manifest cannot be read.

    Nobody wrote down when the server reached the end of it: surely not after it was finished here.
    """
    if backup.kind is not BackupKind.PHYSICAL or backup.state not in WHOLE or not backup.path:
        return None
    try:
        found = read_manifest(Path(backup.path))["wal"]
        began = datetime.fromisoformat(backup.created_at)
        return Base(
            backup=backup.id,
            timeline=int(found["timeline"]),
            start=parse_lsn(found["start"]),
            stop=parse_lsn(found["end"]),
            at=began,
            ready=began + timedelta(seconds=backup.took_s or 0.0),
        )
    except (DatabaseError, ValueError, KeyError, TypeError):
        return None
