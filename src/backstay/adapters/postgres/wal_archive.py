"""The folder of received WAL: segments as `pg_receivewal` names them, and beside them what we know about them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from backstay.adapters.files import write_durably
from backstay.adapters.postgres.wal_base import base_of, is_gone, needed_from
from backstay.domain.backup import Backup
from backstay.domain.wal import (
    DEFAULT_SEGMENT_BYTES,
    PARTIAL,
    Base,
    Chain,
    Flow,
    Listing,
    Mark,
    WalState,
    history_timeline,
    parse_history,
    parse_lsn,
    parse_segment,
    write_lsn,
)
from backstay.errors import DatabaseError

STATE: Final = "state.json"
MARKS: Final = "marks"
MARK_EVERY: Final = timedelta(seconds=15)
"""Marks are kept no closer than this; the newest one is in the state besides."""


class WalFolder:
    """Implements ports.wal.WalArchive."""

    def make(self, folder: Path) -> None:
        with _told(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)

    def free(self, folder: Path) -> int:
        with _told(folder):
            return shutil.disk_usage(folder).free

    def begin_at(self, folder: Path, name: str) -> None:
        """`pg_receivewal` begins with the newest partial file that it finds, and takes an empty one for a new one.

        The newest mark before the gap is in the state alone, where the next one takes its place.
        """
        state = self.state(folder)
        with _told(folder):
            if state is not None and state.caught_up is not None:
                with (folder / MARKS).open("a") as marks:
                    marks.write(_line(state.caught_up))
            if not (folder / name).exists():
                (folder / (name + PARTIAL)).touch(mode=0o600)

    def holds(self, folder: Path, lsn: int, segment_bytes: int) -> bool:
        number, offset = divmod(lsn, segment_bytes)
        if offset == 0:
            return True
        with _told(folder):
            parsed = (parse_segment(path.name, segment_bytes) for path in folder.iterdir())
            return any(found is not None and found.number == number for found in parsed)

    def listing(self, folder: Path) -> Listing:
        with _told(folder):
            if not folder.is_dir():
                return Listing({})
            sizes = {entry.name: entry.stat().st_size for entry in os.scandir(folder) if entry.is_file()}
            histories = {}
            for name in sizes:
                timeline = history_timeline(name)
                if timeline is not None:
                    with contextlib.suppress(ValueError, IndexError):
                        histories[timeline] = parse_history((folder / name).read_text())
            state = self.state(folder)
            marks = _marks(folder)
        if state is not None and state.caught_up is not None:
            marks.append(state.caught_up)
        size = state.segment_bytes if state is not None else _largest(sizes)
        return Listing(sizes, histories, tuple(marks), size)

    def state(self, folder: Path) -> WalState | None:
        try:
            return _state(json.loads((folder / STATE).read_text()))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def note(self, folder: Path, state: WalState) -> None:
        """Not synced: after a crash of the machine it is only older, and so promises less."""
        text = json.dumps(_document(state))
        draft = folder / f".{STATE}.{os.getpid()}"
        with _told(folder):
            draft.write_text(text)
            draft.replace(folder / STATE)

    def mark(self, folder: Path, mark: Mark) -> None:
        path = folder / MARKS
        with _told(folder), path.open("a+") as file:
            file.seek(max(0, file.tell() - 200))
            lines = file.read().splitlines()
            last = _mark(lines[-1]) if lines else None
            if last is None or mark.at - last.at >= MARK_EVERY or mark.timeline != last.timeline:
                file.write(_line(mark))

    def remove(self, folder: Path, names: Collection[str], before: datetime) -> None:
        with _told(folder):
            for name in names:
                (folder / name).unlink(missing_ok=True)
            marks = _marks(folder)
            kept = [mark for mark in marks if mark.at >= before]
            if len(kept) < len(marks):
                write_durably(folder / MARKS, "".join(map(_line, kept)))

    def set_aside(self, folder: Path, name: str) -> Path:
        with _told(folder):
            number, aside = 1, folder.with_name(f"{folder.name}.{name}")
            while aside.exists():
                number, aside = number + 1, folder.with_name(f"{folder.name}.{name}.{number}")
            folder.rename(aside)
        self.make(folder)
        return aside

    def base(self, backup: Backup) -> Base | None:
        return base_of(backup)

    def is_gone(self, backup: Backup) -> bool:
        return is_gone(backup)

    def needed_from(self, backup: Backup) -> int | None:
        return needed_from(backup)

    def supply(self, folder: Path, chain: Chain, data: Path) -> None:
        """Into the server's own `pg_wal`, copies of all: a server writes into segments that it has used.

        A partial file gets its full size, with zeros, as a server wants it; in zeros it finds the end.
        """
        size = self.listing(folder).segment_bytes
        target = data / "pg_wal"
        with _told(data):
            target.mkdir(mode=0o700, exist_ok=True)
            for path in folder.glob("*.history"):
                shutil.copyfile(path, target / path.name)
            for name in chain.files:
                copy = target / name.removesuffix(PARTIAL)
                copy.unlink(missing_ok=True)
                shutil.copyfile(folder / name, copy)
                os.truncate(copy, size)
                copy.chmod(0o600)

    def reached(self, data: Path) -> int | None:
        """A server that ends a recovery begins a new timeline; its history says where."""
        with _told(data):
            found = [
                (timeline, path)
                for path in (data / "pg_wal").glob("*.history")
                if (timeline := history_timeline(path.name)) is not None
            ]
            if not found:
                return None
            try:
                return parse_history(max(found)[1].read_text())[-1][1]
            except (ValueError, IndexError):
                return None


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DatabaseError(
            f"{error.filename or folder}: {error.strerror or error}",
            hint=f"free space on the disk of {folder}, or mend the folder's owner and mode",
        ) from error


def _largest(sizes: dict[str, int]) -> int:
    """The size of a segment where nobody noted it: that of the largest whole one."""
    named = [
        n for name, n in sizes.items() if parse_segment(name, DEFAULT_SEGMENT_BYTES) is not None and n > 0
    ]
    return max(named, default=DEFAULT_SEGMENT_BYTES)


def _marks(folder: Path) -> list[Mark]:
    """In order of time. A line that a crash cut short is left out."""
    try:
        lines = (folder / MARKS).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found = [mark for line in lines if (mark := _mark(line)) is not None]
    return sorted(found, key=lambda mark: mark.at)


def _line(mark: Mark) -> str:
    return f"{mark.timeline} {write_lsn(mark.lsn)} {_text(mark.at)}\n"


def _mark(line: str) -> Mark | None:
    words = line.split()
    try:
        at = datetime.fromisoformat(words[2])
        return Mark(int(words[0]), parse_lsn(words[1]), at) if at.tzinfo is not None else None
    except (IndexError, ValueError):
        return None


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


def _document(state: WalState) -> dict[str, Any]:
    mark = state.caught_up
    return {
        "seen": _text(state.seen),
        "flow": state.flow.value,
        "since": _text(state.since),
        "system_identifier": state.system_identifier,
        "major": state.major,
        "segment_bytes": state.segment_bytes,
        "caught_up": _line(mark).strip() if mark is not None else None,
        "message": state.message,
    }


def _state(found: dict[str, Any]) -> WalState:
    return WalState(
        seen=datetime.fromisoformat(found["seen"]),
        flow=Flow(found["flow"]),
        since=datetime.fromisoformat(found["since"]),
        system_identifier=found["system_identifier"],
        major=found["major"],
        segment_bytes=found["segment_bytes"],
        caught_up=_mark(found["caught_up"]) if found["caught_up"] else None,
        message=found["message"],
    )
