"""Backups: their catalog entries, their names, their progress."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from statistics import median
from typing import Final

from backstay.domain.duration import format_duration
from backstay.domain.server import ServerFacts
from backstay.domain.size import format_bytes


class BackupState(StrEnum):
    """`VERIFIED` only after a real restore; a dump that merely finished is `UNVERIFIED`."""

    VERIFIED = "verified"
    UNVERIFIED = "unverified"
    FAILED = "failed"
    DAMAGED = "damaged"


class BackupKind(StrEnum):
    """`LOGICAL`: one database, by `pg_dump`. `PHYSICAL`: the whole server's files, by `pg_basebackup`."""

    LOGICAL = "logical"
    PHYSICAL = "physical"


ESTIMATE_AFTER_S: Final = 2.0

WHOLE: Final = frozenset({BackupState.VERIFIED, BackupState.UNVERIFIED})
"""States of a backup that is there and of its full size, as far as anybody knows."""


@dataclass(frozen=True, slots=True)
class Backup:
    """One catalog row. `bytes` is the size of the dump on disk, `path` where it lies (absolute): a file, or the
    folder of a physical one. `sha256` is that of the file, or of the list of the folder's files.

    `created_at` is RFC 3339 UTC: the moment before the dump began, so what was committed later is not in it.
    Of a failed backup nothing is left: `path` and `sha256` are empty, and `reason` says why.

    `number` grows with each entry, whatever the clock does. `alarm`: why somebody should look at it, though nothing
    failed (of a failed one: the server's own files are damaged). `same_disk`: whether it lies on the disk of the
    database itself, None where nobody can tell.

    `verified_at`: when a restore of it was last found equal. `content`: its manifest holds what was in the database.
    `encrypted`: nobody reads it without the age identity. `copied_at`: when it was last copied elsewhere,
    `copy_error` why that failed. `parent`: the backup this one is worth nothing without. `wal_lsn`: where the WAL
    stood when it began. `read_bytes` and `took_s` of the making, for the next one's estimate.
    """

    id: str
    app: str
    environment: str
    created_at: str
    kind: BackupKind
    state: BackupState
    bytes: int
    path: str
    sha256: str
    reason: str
    deployment: str | None = None
    pinned: bool = False
    verified_at: str | None = None
    content: bool = False
    encrypted: bool = False
    copied_at: str | None = None
    copy_error: str | None = None
    parent: str | None = None
    database: str | None = None
    system_identifier: str | None = None
    server_major: int | None = None
    wal_lsn: str | None = None
    read_bytes: int | None = None
    took_s: float | None = None
    number: int = field(default=0, compare=False)
    alarm: str | None = None
    same_disk: bool | None = None


@dataclass(frozen=True, slots=True)
class BackupLimits:
    """How long a backup may take, how long nothing at all may come from it, how long it waits for a table."""

    deadline_s: float = 14400.0
    stall_s: float = 300.0
    lock_wait_s: float = 60.0


@dataclass(frozen=True, slots=True)
class BackupProgress:
    """How far a backup or a restore is. `read` (bytes that came out of the database) is None where it cannot be known.

    `expected` is how many bytes will have been read at the end: what the server says of a physical backup, what the
    last one read of a logical one; None where nobody knows, for the size of a database counts indexes and dead
    rows, which no dump has.
    """

    written: int
    read: int | None
    database_bytes: int
    elapsed_s: float
    expected: int | None = None

    @property
    def bytes_per_s(self) -> float:
        """Bytes of the database per second; of the dump where the former is not known."""
        done = self.written if self.read is None else self.read
        return done / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def left_s(self) -> float | None:
        """An estimate of the seconds to come; None where it would be a guess: at the beginning, or beyond what was
        expected."""
        if self.expected is None or self.read is None or self.elapsed_s < ESTIMATE_AFTER_S:
            return None
        rest = self.expected - self.read
        return rest / self.bytes_per_s if rest > 0 and self.bytes_per_s > 0 else None

    def __str__(self) -> str:
        """For people."""
        read = "" if self.read is None else f"{format_bytes(self.read)} read of "
        of = f"a database of {format_bytes(self.database_bytes)}"
        if self.read is not None and self.expected is not None:
            of = f"about {format_bytes(max(self.expected, self.read))}"
        left = "" if self.left_s is None else f", about {format_duration(self.left_s)} left"
        return (
            f"{read}{of}, {format_bytes(self.written)} written,"
            f" {format_duration(self.elapsed_s)}, {format_bytes(self.bytes_per_s)}/s{left}"
        )


LEAST_SHARE: Final = 0.5
"""Of the server's bytes that must be the database's own before a physical backup, which takes all, is chosen
unasked."""


def obstacle_to_physical(facts: ServerFacts, *, ordered: bool) -> str | None:
    """Why a physical backup cannot be made (or, unless it is `ordered`, should not); None when nothing is known of
    one."""
    if facts.server_major < 15:
        return f"PostgreSQL {facts.server_major} does not compress one itself (15 does)"
    if not facts.may_replicate:
        return "the role has no REPLICATION attribute, or max_wal_senders is 0"
    if facts.wal_level == "minimal":
        return "wal_level is minimal"
    if facts.tablespaces:
        return f"the server has tablespaces of its own ({', '.join(facts.tablespaces)}), which lie elsewhere"
    if ordered:
        return None
    if facts.in_recovery:
        return "the server is a standby"
    if facts.cluster_bytes is None or facts.bytes < LEAST_SHARE * facts.cluster_bytes:
        return "it would copy other databases too, which are larger"
    return None


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
    return max((b for b in backups if b.state in WHOLE), key=age, default=None)


def age(backup: Backup) -> tuple[int, str, str]:
    """Later is greater. By the order of entry: clocks jump. Of two that came at once the name decides, so every run
    decides alike."""
    return backup.number, backup.created_at, backup.id


USUAL_OF: Final = 5
TOO_SMALL: Final = 0.5


def alarm(
    made: Backup, before: Iterable[Backup], rows: int | None = None, rows_before: int | None = None
) -> str | None:
    """Why people should look at a backup that came to be: it is much smaller than usual, or holds far fewer rows than
    the one before it. None when nothing is odd.

    A wrong database, an emptied one, or a role that sees only some rows looks like that. Sizes are compared within
    a kind.
    """
    rows_ = sorted((b for b in before if b.state in WHOLE and b.kind is made.kind), key=age)[-USUAL_OF:]
    if rows_:
        usual = median(b.bytes for b in rows_)
        if made.bytes < TOO_SMALL * usual:
            return f"it has {format_bytes(made.bytes)}, where {format_bytes(int(usual))} are usual"
    if rows is not None and rows_before and rows < TOO_SMALL * rows_before:
        return f"it holds {rows} rows, the one before it {rows_before}"
    return None


def notice(newest: Backup | None) -> str | None:
    """What to tell people of the newest whole backup for as long as it is so; None when there is nothing to tell."""
    if newest is None:
        return None
    if newest.alarm:
        return f"look at the backup {newest.id}: {newest.alarm}"
    if newest.copied_at is None and newest.copy_error:
        return f"the backup {newest.id} was not copied elsewhere: {newest.copy_error}"
    if newest.copied_at is None and newest.same_disk is not False:
        where = "lie on" if newest.same_disk else "may lie on"
        return f"backups {where} the database's own disk, and nowhere else: one failing disk takes all (database.copy)"
    return None
