"""Remove the WAL that no base backup needs any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from backstay.domain.backup import WHOLE, Backup, BackupKind
from backstay.domain.size import format_bytes
from backstay.domain.wal import superfluous
from backstay.pipeline.prune import Teller
from backstay.ports.store import Reader
from backstay.ports.wal import WalArchive

GIVE_UP: Final = "remove its files and its manifest"


class Ports(Protocol):
    """What it takes to know what is needed, and to remove the rest."""

    @property
    def store(self) -> Reader: ...
    @property
    def archive(self) -> WalArchive: ...


def prune(ports: Ports, app: str, environment: str, folder: Path, tell: Teller) -> str | None:
    """Remove the WAL that no base backup of the catalog needs any more, and nothing while there is none.

    Each counts that was not removed, also one that is damaged or cannot be read now: its disk may only not be mounted.
    Returns what people should know of what is kept for such ones; None when there is nothing to tell.
    """
    catalog = ports.store.backups(app, environment)
    physical = [row for row in catalog if row.kind is BackupKind.PHYSICAL and row.path]
    kept = [row for row in physical if not ports.archive.is_gone(row)]
    needs = {row.id: ports.archive.needed_from(row) for row in kept}
    unknown = sorted(name for name, start in needs.items() if start is None)
    if unknown:
        return f"no WAL is removed: nobody can tell what {', '.join(unknown)} needs; mount the disk, or {GIVE_UP}"
    starts = {name: start for name, start in needs.items() if start is not None}
    listing = ports.archive.listing(folder)
    gone = superfluous(listing, starts.values())
    if gone:
        ports.archive.remove(folder, gone, min(datetime.fromisoformat(row.created_at) for row in kept))
        freed = format_bytes(sum(listing.files[name] for name in gone))
        tell("wal_pruned", f"{len(gone)} files of WAL removed ({freed}): no base backup needs them")
    return _kept_for_damaged(kept, starts)


def _kept_for_damaged(kept: Sequence[Backup], starts: Mapping[str, int]) -> str | None:
    """Of damaged bases, those from before all others: they alone keep the oldest WAL, and retention takes none."""
    first = min((starts[row.id] for row in kept if row.state in WHOLE), default=None)
    older = sorted(
        row.id for row in kept if row.state not in WHOLE and (first is None or starts[row.id] < first)
    )
    if not older:
        return None
    return f"WAL is kept for {', '.join(older)}, though damaged; to give it up, {GIVE_UP}"
