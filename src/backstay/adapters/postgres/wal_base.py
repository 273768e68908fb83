"""Where a physical backup stands in the write-ahead log, from its manifest."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from backstay.adapters.postgres.manifest import MANIFEST, manifest_path, read_manifest
from backstay.domain.backup import WHOLE, Backup, BackupKind
from backstay.domain.wal import Base, parse_lsn
from backstay.errors import DatabaseError

STANDBY_BYTES: Final = 1024**3
"""How far before the position that a standby had replayed a backup of it may begin: it begins at a checkpoint of its
primary, and this is the usual distance of those (max_wal_size)."""


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


def is_gone(backup: Backup) -> bool:
    """Whether nothing is left of a backup though others lie in its folder, so its disk is there; without any others
    it cannot be told."""
    dump = Path(backup.path)
    try:
        is_left = dump.exists() or manifest_path(dump).exists()
        return not is_left and any(dump.parent.glob(f"*{MANIFEST}"))
    except OSError:
        return False


def needed_from(backup: Backup) -> int | None:
    """The position from which on a physical backup needs WAL, whatever state it is in: what its manifest says; where
    that cannot be read, one before it, by the catalog; None where neither tells."""
    try:
        return parse_lsn(read_manifest(Path(backup.path))["wal"]["start"])
    except (DatabaseError, ValueError, KeyError, TypeError):
        pass
    try:
        return max(0, parse_lsn(backup.wal_lsn or "") - STANDBY_BYTES)
    except ValueError:
        return None
