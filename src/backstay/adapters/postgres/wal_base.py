"""Where a physical backup stands in the write-ahead log, from the list of files that the server made with it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from backstay.domain.backup import WHOLE, Backup, BackupKind
from backstay.domain.wal import Base, parse_lsn

SERVER_LIST: Final = "backup_manifest"


def base_of(backup: Backup) -> Base | None:
    """The positions of a physical backup that is whole; None for any other, and when its list cannot be read.

    Nobody wrote down when the server reached the end of it: surely not after it was finished here.
    """
    if backup.kind is not BackupKind.PHYSICAL or backup.state not in WHOLE or not backup.path:
        return None
    try:
        found = json.loads((Path(backup.path) / SERVER_LIST).read_bytes())
        return _base(backup, found["WAL-Ranges"])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _base(backup: Backup, ranges: list[dict[str, Any]]) -> Base:
    """A backup that went on over a promotion has several ranges; it ends in the newest timeline."""
    last = max(ranges, key=lambda each: int(each["Timeline"]))
    began = datetime.fromisoformat(backup.created_at)
    return Base(
        backup=backup.id,
        timeline=int(last["Timeline"]),
        start=min(parse_lsn(each["Start-LSN"]) for each in ranges),
        stop=parse_lsn(last["End-LSN"]),
        at=began,
        ready=began + timedelta(seconds=backup.took_s or 0.0),
    )
