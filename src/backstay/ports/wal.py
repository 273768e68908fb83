"""Continuous protection: the server whose write-ahead log is received, what receives it, and the folder it lies in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from backstay.domain.backup import Backup
from backstay.domain.secret import Secret
from backstay.domain.wal import Base, Chain, Listing, Mark, WalState


@dataclass(frozen=True, slots=True)
class ServerPosition:
    """Where a server stands. Everything it had committed at `at` (its own clock) lies at or before `lsn`.

    `received` is what our slot has confirmed as safely written, None when there is no such slot; `active` whether
    somebody receives by it; `lost` that the server has thrown away what it still had to send. `keep_bytes` is
    `max_slot_wal_keep_size`, None without a limit. `segment_bytes` is the size of a file of WAL.
    """

    at: datetime
    lsn: int
    timeline: int
    major: int
    system_identifier: str
    segment_bytes: int
    received: int | None
    active: bool
    lost: bool
    keep_bytes: int | None


class WalServer(Protocol):
    """Questions to the server, each answered within `deadline_s` seconds or DatabaseError."""

    def position(self, url: Secret, slot: str, deadline_s: float) -> ServerPosition: ...

    def drop_slot(self, url: Secret, slot: str, deadline_s: float) -> None:
        """Give the slot up, so that the server keeps nothing for it any more; nothing happens without one."""

    def beat(self, url: Secret, deadline_s: float) -> datetime:
        """Write the canary row (schema and table are made when missing); the server's time in it."""

    def last_beat(self, url: Secret, deadline_s: float) -> datetime | None:
        """The time in the canary row of a database; None when there is none. Writes nothing."""


class Receiver(Protocol):
    """Receives WAL into a folder in a process of its own, which goes on when we die. Raises DatabaseError."""

    def start(self, url: Secret, slot: str, folder: Path, major: int) -> None:
        """Make the slot when it is missing, and begin to receive; returns once it does, or has ended again.

        `major` is the server's. Nothing happens when it is being received already; while somebody else receives by
        the slot it is refused.
        """

    def is_running(self, folder: Path) -> bool: ...

    def last_words(self, folder: Path) -> str:
        """What was wrong with the last receiver, in its own words; empty when it said nothing."""

    def stop(self, folder: Path) -> None:
        """End it so that all it has is safely written; nothing happens when it does not run."""


class WalArchive(Protocol):
    """The folder with received WAL, and what we know of it. Raises DatabaseError for a disk that does not obey."""

    def make(self, folder: Path) -> None:
        """Make the folder when it is missing, for us alone."""

    def free(self, folder: Path) -> int:
        """Bytes that still fit on its disk. Only looks."""

    def begin_at(self, folder: Path, name: str) -> None:
        """Have what receives go on with the segment of this name, instead of after the newest one that lies there; what
        is known of those before stays known."""

    def holds(self, folder: Path, lsn: int, segment_bytes: int) -> bool:
        """Whether the segment that a position lies in is there, whole or in part; one at which a segment begins lies in
        none, and needs nothing. Only looks."""

    def listing(self, folder: Path) -> Listing:
        """What lies there; empty for a folder that is missing. Only looks."""

    def state(self, folder: Path) -> WalState | None:
        """What was noted last; None when nothing was, or it cannot be read. Only looks."""

    def note(self, folder: Path, state: WalState) -> None:
        """Keep what is known now, in place of what was noted before."""

    def mark(self, folder: Path, mark: Mark) -> None:
        """Add a mark."""

    def remove(self, folder: Path, names: Collection[str], before: datetime) -> None:
        """Remove files, and the marks of moments before `before`."""

    def set_aside(self, folder: Path, name: str) -> Path:
        """Move all that lies there beside it, under the folder's name and `name`, and begin anew; where it is then."""

    def base(self, backup: Backup) -> Base | None:
        """Where a physical backup begins and ends in the WAL; None for any other one, and when it cannot be told."""

    def is_gone(self, backup: Backup) -> bool:
        """Whether somebody removed the files of a backup: nothing is left of it where others of its folder are."""

    def needed_from(self, backup: Backup) -> int | None:
        """The position from which on a physical backup needs WAL, or one before it, whatever state it is in; None when
        it cannot be told."""

    def supply(self, folder: Path, chain: Chain, data: Path) -> None:
        """Copy the files of a chain, and all histories, to where a server that starts on `data` finds them."""

    def reached(self, data: Path) -> int | None:
        """Where a server that was started on `data` and recovered stopped to replay, and went its own way; None when
        it did not."""
