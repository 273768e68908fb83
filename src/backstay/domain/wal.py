"""The write-ahead log that was received: which files make an unbroken chain from a base backup, and where it ends.

A position (LSN) is a number of bytes. The log of a server is cut into segments of equal size; a file is named by
timeline and segment. A timeline begins where a server was promoted, and its history file says where.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

PARTIAL: Final = ".partial"
DEFAULT_SEGMENT_BYTES: Final = 16 * 1024 * 1024
BASE_AFTER_BYTES: Final = 10 * 1024**3
"""How much WAL may come after a base backup before there is another: what must be replayed takes time."""

CANARY_TABLE: Final = "backstay.canary"

STALLED_AFTER_S: Final = 30.0
"""WAL that has not arrived after this is late, and people hear of it."""

_SEGMENT: Final = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(\.partial)?")
_HISTORY: Final = re.compile(r"([0-9A-F]{8})\.history")
_BYTES_PER_LOG: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Continuous:
    """How the WAL of an environment is received: the name of the secret with the URL of a role that may replicate,
    after how much WAL a new base backup is made, and whether a canary row is written each minute."""

    replication_url_secret: str
    base_after_bytes: int = BASE_AFTER_BYTES
    canary: bool = True


def parse_lsn(text: str) -> int:
    """Bytes of a position such as `16/B374D848`. Raises ValueError."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def write_lsn(position: int) -> str:
    """The position as PostgreSQL writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def segment_name(timeline: int, number: int, segment_bytes: int) -> str:
    """The name of the file with segment `number` (0 is the first) of a timeline."""
    high, low = divmod(number, _BYTES_PER_LOG // segment_bytes)
    return f"{timeline:08X}{high:08X}{low:08X}"


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """A file of WAL: what its name says."""

    timeline: int
    number: int
    is_partial: bool


def parse_segment(name: str, segment_bytes: int) -> SegmentFile | None:
    """What the name of a file says; None when it is no segment."""
    match = _SEGMENT.fullmatch(name)
    if match is None:
        return None
    timeline, high, low = (int(part, 16) for part in match.group(1, 2, 3))
    return SegmentFile(timeline, high * (_BYTES_PER_LOG // segment_bytes) + low, match[4] is not None)


def history_timeline(name: str) -> int | None:
    """The timeline whose history a file of this name is; None when it is no history."""
    match = _HISTORY.fullmatch(name)
    return int(match[1], 16) if match else None


def parse_history(text: str) -> tuple[tuple[int, int], ...]:
    """A history file: each parent timeline, oldest first, with the position where it was left. Raises ValueError."""
    rows = (line.split() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return tuple((int(row[0]), parse_lsn(row[1])) for row in rows)


@dataclass(frozen=True, slots=True)
class Base:
    """A base backup: usable with all WAL from position `start` on, whole by itself at `stop`.

    Everything committed until `at`, when it began, is in it. The earliest moment to go back to is `ready`, when it had
    surely reached `stop`.
    """

    backup: str
    timeline: int
    start: int
    stop: int
    at: datetime
    ready: datetime


@dataclass(frozen=True, slots=True)
class Mark:
    """Everything committed until `at` (the server's clock) lies at or before position `lsn`, and was received."""

    timeline: int
    lsn: int
    at: datetime


class Flow(StrEnum):
    """How WAL arrives: all of it at once, later than it should, or not at all for want of a receiver."""

    RECEIVING = "receiving"
    LATE = "late"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class WalState:
    """What the one who looks after the receiving knew at `seen`, by this host's clock.

    `caught_up` is the newest mark; `since` when `flow` became what it is. `message` says what is wrong, or advises.
    """

    seen: datetime
    flow: Flow
    since: datetime
    system_identifier: str
    major: int
    segment_bytes: int
    caught_up: Mark | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies in the folder: names to sizes in bytes, histories by timeline, and the marks, oldest first."""

    files: Mapping[str, int]
    histories: Mapping[int, Sequence[tuple[int, int]]] = field(default_factory=dict)
    marks: Sequence[Mark] = ()
    segment_bytes: int = DEFAULT_SEGMENT_BYTES


@dataclass(frozen=True, slots=True)
class Chain:
    """The unbroken WAL from a base on. `files` are those needed, in order; it ends at position `end`.

    `until` is the last moment to which everything can surely be brought back: the base's own when no mark is later.
    `gap` says what is wrong where more had been received than can be reached; None when the chain ends with the
    newest that ever was.
    """

    base: Base
    timeline: int
    files: tuple[str, ...]
    end: int
    until: datetime
    gap: str | None = None


def chain(base: Base, listing: Listing) -> Chain:
    """Follow the WAL of `base` as far as it goes, on to the newest timeline that descends from the base's."""
    size = listing.segment_bytes
    timeline = _newest_timeline(base, listing)
    path = _path_to(timeline, listing)
    number = base.stop // size
    files: list[str] = []
    end = base.stop
    while (found := _file_of(number, path, listing)) is not None:
        name, reach = found
        files.append(name)
        end = max(end, reach)
        if reach < (number + 1) * size or name.endswith(PARTIAL):
            break
        number += 1
    marks = [mark for mark in listing.marks if mark.lsn >= base.stop and _is_on(path, mark)]
    until = max([base.at, *(mark.at for mark in marks if mark.lsn <= end)])
    goes_on = any(mark.lsn > end for mark in marks) or _is_more_behind(number, path, listing)
    return Chain(base, timeline, tuple(files), end, until, _gap(number, files, path[0], goes_on, listing))


def _newest_timeline(base: Base, listing: Listing) -> int:
    """The newest timeline that goes through the end of the base; it is what the server would follow."""
    known = [
        timeline
        for timeline, parents in listing.histories.items()
        if any(parent == base.timeline and left >= base.stop for parent, left in parents)
    ]
    return max([base.timeline, *known])


@dataclass(frozen=True, slots=True)
class _Stretch:
    """The part of a timeline that counts: from position `begins` up to, not including, `left`; None: no end yet."""

    timeline: int
    begins: int
    left: int | None


def _path_to(timeline: int, listing: Listing) -> list[_Stretch]:
    """The timelines that may hold a segment, newest first."""
    path, begins = [], 0
    for parent, left in listing.histories.get(timeline, ()):
        path.append(_Stretch(parent, begins, left))
        begins = left
    return [_Stretch(timeline, begins, None), *reversed(path)]


def _is_on(path: Sequence[_Stretch], mark: Mark) -> bool:
    """Whether what a mark says holds on this path: behind the end of an abandoned timeline it does not."""
    return any(s.timeline == mark.timeline and (s.left is None or mark.lsn <= s.left) for s in path)


def _file_of(number: int, path: Sequence[_Stretch], listing: Listing) -> tuple[str, int] | None:
    """The file that the server would take for a segment (the newest timeline's), and the position up to which it
    counts."""
    size = listing.segment_bytes
    for stretch in path:
        if stretch.begins // size > number:
            continue
        whole = segment_name(stretch.timeline, number, size)
        for name in (whole, whole + PARTIAL):
            held = listing.files.get(name, 0)
            if held > 0:
                reach = number * size + min(held, size)
                return name, reach if stretch.left is None else min(reach, stretch.left)
    return None


def _is_more_behind(number: int, path: Sequence[_Stretch], listing: Listing) -> bool:
    own = {stretch.timeline for stretch in path}
    parsed = (parse_segment(name, listing.segment_bytes) for name in listing.files)
    return any(found is not None and found.timeline in own and found.number > number for found in parsed)


def _gap(number: int, files: Sequence[str], newest: _Stretch, goes_on: bool, listing: Listing) -> str | None:
    """What is wrong with segment `number`, where the chain ended; None when it is only the newest one."""
    last = files[-1] if files else ""
    if last and not last.endswith(PARTIAL) and listing.files[last] < listing.segment_bytes:
        return f"{last} has {listing.files[last]} of {listing.segment_bytes} bytes"
    if not goes_on:
        return None
    if last.endswith(PARTIAL):
        return f"{last.removesuffix(PARTIAL)} was not received to its end"
    return f"{segment_name(newest.timeline, number, listing.segment_bytes)} is missing"


@dataclass(frozen=True, slots=True)
class Window:
    """Moments to which a database can be brought back, both ends included; what is not in one is out of reach."""

    spans: tuple[tuple[datetime, datetime], ...]

    def holds(self, at: datetime) -> bool:
        return any(first <= at <= last for first, last in self.spans)

    @property
    def last(self) -> datetime | None:
        return self.spans[-1][1] if self.spans else None


def window(chains: Iterable[Chain]) -> Window:
    """What all bases together reach, as spans that do not touch, oldest first."""
    spans: list[tuple[datetime, datetime]] = []
    reached = sorted((c.base.ready, c.until) for c in chains if c.base.ready <= c.until)
    for first, last in reached:
        if spans and first <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], last))
        else:
            spans.append((first, last))
    return Window(tuple(spans))


def chain_for(chains: Iterable[Chain], at: datetime | None) -> Chain | None:
    """The chain that brings back the moment `at` from the newest base, so with the least to replay; None when none
    does. Without `at`, the one that reaches furthest."""
    fit = [c for c in chains if at is None or c.base.ready <= at <= c.until]
    return max(fit, key=lambda c: (c.until, c.base.at) if at is None else (c.base.at, c.until), default=None)


def superfluous(listing: Listing, starts: Collection[int]) -> tuple[str, ...]:
    """The files that no kept base needs: segments wholly before the first of their `starts` (positions). Nothing
    without a base.

    Histories stay: they are small, and say where the others came from.
    """
    if not starts:
        return ()
    oldest = min(starts) // listing.segment_bytes
    parsed = ((name, parse_segment(name, listing.segment_bytes)) for name in listing.files)
    return tuple(sorted(name for name, found in parsed if found is not None and found.number < oldest))


def caught_up(marks: Iterable[tuple[datetime, int]], received: int) -> datetime | None:
    """The latest of the moments at which the server stood at a position that is received by now."""
    return max((at for at, lsn in marks if lsn <= received), default=None)
