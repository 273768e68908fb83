"""Backups: their catalog entries, their names, their progress, and which of them may go."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from backstay.domain.deployment import Deployment
from backstay.domain.duration import format_duration
from backstay.domain.size import format_bytes
from backstay.domain.slot import Slots


class BackupState(StrEnum):
    """`VERIFIED` only after a real restore; a dump that merely finished is `UNVERIFIED`."""

    VERIFIED = "verified"
    UNVERIFIED = "unverified"
    FAILED = "failed"
    DAMAGED = "damaged"


WHOLE: Final = frozenset({BackupState.VERIFIED, BackupState.UNVERIFIED})
"""States of a backup that is there and of its full size, as far as anybody knows."""


@dataclass(frozen=True, slots=True)
class Backup:
    """One catalog row. `bytes` is the size of the dump on disk, `path` where it lies (absolute).

    `created_at` is RFC 3339 UTC: the moment before the dump began, so what was committed later is not in it.
    Of a failed backup nothing is left: `path` and `sha256` are empty, and `reason` says why.
    """

    id: str
    app: str
    environment: str
    created_at: str
    kind: str
    state: BackupState
    bytes: int
    path: str
    sha256: str
    reason: str
    deployment: str | None = None
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class BackupLimits:
    """How long a backup may take, how long nothing at all may come from it, how long it waits for a table."""

    deadline_s: float = 14400.0
    stall_s: float = 300.0
    lock_wait_s: float = 60.0


@dataclass(frozen=True, slots=True)
class BackupProgress:
    """How far a dump is. `read` (bytes that came out of the database) is None where it cannot be known."""

    written: int
    read: int | None
    database_bytes: int
    elapsed_s: float

    @property
    def bytes_per_s(self) -> float:
        """Bytes of the database per second; of the dump where the former is not known."""
        done = self.written if self.read is None else self.read
        return done / self.elapsed_s if self.elapsed_s > 0 else 0.0

    def __str__(self) -> str:
        """For people. How much is to come nobody knows: a dump has no indexes and no dead rows."""
        read = "" if self.read is None else f"{format_bytes(self.read)} read of "
        return (
            f"{read}a database of {format_bytes(self.database_bytes)}, {format_bytes(self.written)} written,"
            f" {format_duration(self.elapsed_s)}, {format_bytes(self.bytes_per_s)}/s"
        )


def backup_id(app: str, environment: str, at: datetime) -> str:
    """`APP_ENV_YYYYmmdd_HHMMSSmmm` in UTC: sortable, and distinct down to the millisecond. `at` is aware."""
    at = at.astimezone(UTC)
    return f"{app}_{environment}_{at:%Y%m%d_%H%M%S}{at.microsecond // 1000:03d}"


def as_found(backup: Backup, size: int | None) -> Backup:
    """The entry in the light of what lies on the disk: `size` is that of the file now, None when it is missing.

    A catalog that calls a backup good which is gone is worse than none.
    """
    if backup.state not in WHOLE or size == backup.bytes:
        return backup
    why = "its file is missing" if size is None else f"its file has {size} bytes instead of {backup.bytes}"
    return replace(backup, state=BackupState.DAMAGED, reason=f"{why} ({backup.reason})")


def newest_whole(backups: Iterable[Backup]) -> Backup | None:
    """The newest backup that came to be; None when there is none."""
    return max((b for b in backups if b.state in WHOLE), key=_age, default=None)


def needed(slots: Slots, history: Iterable[Deployment]) -> frozenset[str]:
    """Deployments whose backups must stay, as a way back may lead to them.

    Those are the ones under way, those that filled a slot, and for the release in each slot the newest deployment
    that made a backup: a rollback, or a deploy of the same release, may have filled the slot since.
    """
    rows = list(history)
    found = {row.id for row in rows if not row.state.is_final}
    for mapping in slots.mappings.values():
        found.add(mapping.deployment)
        made = [row.id for row in rows if row.release == mapping.release and row.backup]
        found.update(made[-1:])
    return frozenset(found)


def to_prune(
    backups: Iterable[Backup], keep: int, needed: Collection[str] = (), made: str | None = None
) -> tuple[Backup, ...]:
    """The backups of one environment that may go, oldest first. `needed` are ids of deployments, `keep` ≥ 1.

    `made` is the id of the backup that was just made: it stays although the clock may have jumped back.

    The newest `keep` whole ones stay, the newest `keep` verified ones too (so that unverified ones never push
    the last proven one out), and any that is pinned or belongs to a needed deployment. Failed entries are
    counted by themselves. A damaged one is never removed: its disk may only not be mounted, and it counts for
    nothing, so that it pushes no good one out either.
    """
    rows = sorted(backups, key=_age, reverse=True)
    whole = [row for row in rows if row.state in WHOLE]
    verified = [row for row in whole if row.state is BackupState.VERIFIED]
    failed = [row for row in rows if row.state is BackupState.FAILED]
    stay = {row.id for row in _first(whole, keep) + _first(verified, keep) + _first(failed, keep)}
    stay |= {row.id for row in rows if row.pinned or row.deployment in needed or row.id == made}
    return tuple(row for row in reversed(rows) if row.id not in stay and row.state is not BackupState.DAMAGED)


def _first(rows: Sequence[Backup], keep: int) -> list[Backup]:
    return list(rows[: max(keep, 1)])


def _age(backup: Backup) -> tuple[str, str]:
    """Later is greater; of two in the same millisecond the name decides, so every run decides alike."""
    return backup.created_at, backup.id
