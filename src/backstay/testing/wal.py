"""A server whose position moves when told, what receives from it, and a folder of WAL in memory."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from backstay.domain.backup import Backup
from backstay.domain.secret import Secret
from backstay.domain.wal import (
    DEFAULT_SEGMENT_BYTES,
    PARTIAL,
    Base,
    Chain,
    Listing,
    Mark,
    WalState,
    parse_lsn,
    parse_segment,
    segment_name,
)
from backstay.errors import DatabaseError
from backstay.ports.clock import Clock
from backstay.ports.wal import ServerPosition

T = TypeVar("T")


class FakeWalServer:
    """`write` moves its position, `lose` throws away what is behind it. `fault` is the message of all answers;
    `canary_fault` that of canary rows."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.lsn = 2 * DEFAULT_SEGMENT_BYTES
        self.timeline = 1
        self.system_identifier = "7001"
        self.received: int | None = None
        self.active = False
        self.lost = False
        self.kept_from = 0
        self.keep_bytes: int | None = 10 << 30
        self.fault: str | None = None
        self.canary_fault: str | None = None
        self.beats: list[datetime] = []
        self.dropped: list[str] = []

    def write(self, size: int) -> None:
        self.lsn += size

    def lose(self) -> None:
        """All WAL but the segment it writes into goes, and the slot is of no more use."""
        self.kept_from = self.lsn - self.lsn % DEFAULT_SEGMENT_BYTES
        self.lost, self.received, self.active = True, None, False

    def position(self, url: Secret, slot: str, deadline_s: float) -> ServerPosition:
        self._answer()
        return ServerPosition(
            self.clock.now(), self.lsn, self.timeline, 15, self.system_identifier, DEFAULT_SEGMENT_BYTES,
            self.received, self.active, self.lost, self.keep_bytes,
        )  # fmt: skip

    def drop_slot(self, url: Secret, slot: str, deadline_s: float) -> None:
        self._answer()
        self.dropped.append(slot)
        self.lost, self.received = False, None

    def beat(self, url: Secret, deadline_s: float) -> datetime:
        self._answer()
        if self.canary_fault is not None:
            raise DatabaseError(self.canary_fault)
        self.beats.append(self.clock.now())
        return self.beats[-1]

    def last_beat(self, url: Secret, deadline_s: float) -> datetime | None:
        self._answer()
        return self.beats[-1] if self.beats else None

    def _answer(self) -> None:
        if self.fault is not None:
            raise DatabaseError(self.fault)


class FakeReceiver:
    """Receives into a FakeWalFolder whenever `flow` is called. `fault` keeps it from starting, `dies` from staying. As
    `pg_receivewal` does, it goes on after what lies there."""

    def __init__(self, server: FakeWalServer, archive: FakeWalFolder) -> None:
        self.server = server
        self.archive = archive
        self.fault: str | None = None
        self.dies: str = ""
        self.starts: list[float] = []
        self.running = False
        self.words = ""

    def start(self, url: Secret, slot: str, folder: Path, major: int) -> None:
        if self.running:
            return
        self.starts.append(self.server.clock.monotonic())
        if self.fault is not None:
            raise DatabaseError(self.fault)
        if self.server.active:
            raise DatabaseError(f"replication slot {slot} is active: somebody else receives by it")
        first = self._first(folder)
        is_kept = first * DEFAULT_SEGMENT_BYTES >= self.server.kept_from
        self.words = "" if is_kept else f"requested WAL segment {first} has already been removed"
        self.running = self.server.active = is_kept and not self.dies
        self.flow(folder)

    def _first(self, folder: Path) -> int:
        """The number of the segment to go on with."""
        parsed = (parse_segment(name, DEFAULT_SEGMENT_BYTES) for name in self.archive.files.get(folder, ()))
        held = [found.number + (not found.is_partial) for found in parsed if found is not None]
        return max(held, default=(self.server.received or self.server.lsn) // DEFAULT_SEGMENT_BYTES)

    def flow(self, folder: Path) -> None:
        """All that the server wrote arrives."""
        if not self.running:
            return
        first = self._first(folder)
        last = self.server.lsn // DEFAULT_SEGMENT_BYTES
        files = self.archive.files.setdefault(folder, {})
        for number in range(first, last + 1):
            name = segment_name(self.server.timeline, number, DEFAULT_SEGMENT_BYTES)
            files.pop(name + PARTIAL, None)
            files[name if number < last else name + PARTIAL] = DEFAULT_SEGMENT_BYTES
        self.server.received = self.server.lsn

    def is_running(self, folder: Path) -> bool:
        return self.running

    def last_words(self, folder: Path) -> str:
        return self.dies or self.words

    def stop(self, folder: Path) -> None:
        if self.running:
            self.running = self.server.active = False


class FakeWalFolder:
    """`fault` is the message of all writes. `bases` are the positions of physical backups, by their ids, `gone` those
    that somebody removed; `stops_at` is where a recovery stops to replay, `room` what still fits on the disk."""

    def __init__(self) -> None:
        self.room = 1 << 40
        self.files: dict[Path, dict[str, int]] = {}
        self.states: dict[Path, WalState] = {}
        self.marks: dict[Path, list[Mark]] = {}
        self.bases: dict[str, Base] = {}
        self.gone: set[str] = set()
        self.aside: list[Path] = []
        self.supplied: list[tuple[Chain, Path]] = []
        self.fault: str | None = None
        self.stops_at: int | None = None

    def make(self, folder: Path) -> None:
        self._write()
        self.files.setdefault(folder, {})

    def free(self, folder: Path) -> int:
        return self.room

    def begin_at(self, folder: Path, name: str) -> None:
        self._write()
        self.files[folder].setdefault(name + PARTIAL, 0)

    def holds(self, folder: Path, lsn: int, segment_bytes: int) -> bool:
        number, offset = divmod(lsn, segment_bytes)
        parsed = (parse_segment(name, segment_bytes) for name in self.files[folder])
        return offset == 0 or any(found is not None and found.number == number for found in parsed)

    def listing(self, folder: Path) -> Listing:
        return Listing(dict(self.files.get(folder, {})), {}, tuple(self.marks.get(folder, ())))

    def state(self, folder: Path) -> WalState | None:
        return self.states.get(folder)

    def note(self, folder: Path, state: WalState) -> None:
        self._write()
        self.states[folder] = state

    def mark(self, folder: Path, mark: Mark) -> None:
        self._write()
        self.marks.setdefault(folder, []).append(mark)

    def remove(self, folder: Path, names: Collection[str], before: datetime) -> None:
        self._write()
        for name in names:
            del self.files[folder][name]
        self.marks[folder] = [mark for mark in self.marks.get(folder, []) if mark.at >= before]

    def set_aside(self, folder: Path, name: str) -> Path:
        self._write()
        there = folder.with_name(f"{folder.name}.{name}")
        _move(self.files, folder, there)
        _move(self.states, folder, there)
        _move(self.marks, folder, there)
        self.aside.append(there)
        return there

    def base(self, backup: Backup) -> Base | None:
        found = self.bases.get(backup.id)
        return None if found is None else replace(found, backup=backup.id)

    def is_gone(self, backup: Backup) -> bool:
        return backup.id in self.gone

    def needed_from(self, backup: Backup) -> int | None:
        found = self.bases.get(backup.id)
        if found is not None:
            return found.start
        return parse_lsn(backup.wal_lsn) if backup.wal_lsn else None

    def supply(self, folder: Path, chain: Chain, data: Path) -> None:
        self._write()
        self.supplied.append((chain, data))

    def reached(self, data: Path) -> int | None:
        return self.stops_at if self.supplied else None

    def _write(self) -> None:
        if self.fault is not None:
            raise DatabaseError(self.fault)


def _move(kept: dict[Path, T], here: Path, there: Path) -> None:
    if here in kept:
        kept[there] = kept.pop(here)
