"""The application's database, and the dumps made of it, through PostgreSQL's own tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from backstay.domain.backup import BackupLimits, BackupProgress
from backstay.domain.room import Reach
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError


class NameTaken(DatabaseError):
    """Another backup has this name already, or is being made under it."""


class MalformedUrl(DatabaseError):
    """The database URL is none; nothing was asked of any database."""

    exit_status = 2


def _never() -> bool:
    return False


def _silent(_: BackupProgress) -> None:
    return


@dataclass(frozen=True, slots=True)
class DumpOrder:
    """What to dump: `url`, into files in `folder` (made when missing) that begin with `name`.

    `about` goes into the manifest as it is (application, environment …). `stopped` is asked, and `tell` told how
    far it is, a few times per second.
    """

    url: Secret
    folder: Path
    name: str
    about: Mapping[str, str] = field(default_factory=dict)
    limits: BackupLimits = field(default_factory=BackupLimits)
    stopped: Callable[[], bool] = _never
    tell: Callable[[BackupProgress], None] = _silent


@dataclass(frozen=True, slots=True)
class Dump:
    """A finished dump: absolute path, bytes on disk, SHA-256 as hex, and what people should know (`notes`)."""

    path: Path
    bytes: int
    sha256: str
    notes: tuple[str, ...] = ()


class Database(Protocol):
    """Raises DatabaseError."""

    def dump(self, order: DumpOrder) -> Dump:
        """Write a complete dump, its manifest and the server's globals, and read them back from the disk.

        A failed or stopped one leaves no file. Raises NameTaken, MalformedUrl, DatabaseError.
        """

    def size_of(self, dump: Path) -> int | None:
        """Bytes of the file of a dump now; None when it is missing. Only looks."""

    def discard(self, dump: Path) -> None:
        """Remove a dump with what lies beside it; what is gone already is no fault."""

    def sweep(self, folder: Path) -> list[str]:
        """Remove from `folder` what writers that died left there; names of what was removed. What is being written
        stays, and so does what cannot be told apart or removed."""

    def reach(self, url: Secret, role: str, deadline_s: float) -> Reach:
        """Sign in and look; DatabaseError, within `deadline_s` seconds, when that cannot be done from here.

        `role` is whose connections count as the application's; the limits are its own and those of the database.
        """
