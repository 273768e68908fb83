"""Backups and their catalog entries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


class BackupState(StrEnum):
    """`VERIFIED` only after a real restore; a dump that merely finished is `UNVERIFIED`."""

    VERIFIED = "verified"
    UNVERIFIED = "unverified"
    FAILED = "failed"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Backup:
    """One catalog row. `bytes` is the size on disk, `path` absolute, `created_at` RFC 3339 UTC."""

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


def backup_id(app: str, environment: str, at: datetime) -> str:
    """`APP_ENV_YYYYmmdd_HHMMSSmmm` in UTC: sortable, and distinct down to the millisecond. `at` is aware."""
    at = at.astimezone(UTC)
    return f"{app}_{environment}_{at:%Y%m%d_%H%M%S}{at.microsecond // 1000:03d}"
