"""The application's database, through PostgreSQL's own tools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backstay.domain.room import Reach
from backstay.domain.secret import Secret


@dataclass(frozen=True, slots=True)
class Dump:
    """A finished dump: absolute path, bytes on disk, SHA-256 as hex."""

    path: Path
    bytes: int
    sha256: str


class Database(Protocol):
    """Raises DatabaseError."""

    def dump(self, url: Secret, into: Path, stopped: Callable[[], bool]) -> Dump:
        """Write a complete dump to `into`: `.partial`, fsync, rename. A failed or stopped dump leaves no file."""

    def reach(self, url: Secret, role: str, deadline_s: float) -> Reach:
        """Sign in and look; DatabaseError, within `deadline_s` seconds, when that cannot be done from here.

        `role` is whose connections count as the application's; the limits are its own and those of the database.
        """
