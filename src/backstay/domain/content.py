"""What is in a database, in a form that can be compared: rows and checksums per table, and the catalogue's objects.

Two databases of equal content hold the same, whatever the order of their rows and the numbers inside the server.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

SHOWN: Final = 20
"""So many differences are told in words, the rest as a number."""

VERSIONS: Final = "extension versions"
"""A kind of object that is told and not compared: a restore brings the version that its server has by default."""


@dataclass(frozen=True, slots=True)
class TableContent:
    """`checksum` is the sum of a 64-bit hash of each row, so the order of rows does not matter; it finds
    damage and loss, it is no cryptographic seal. Empty when it was not taken: then only rows are compared."""

    rows: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Content:
    """`tables` by "schema.table". `objects`: kind to sorted lines, one per object, its definition shortened to a
    digest.

    `sequences` by "schema.sequence": the value, None when it moved while the content was taken (sequences know no
    snapshot). `exact` is False when others wrote between the look and the backup (a physical one has no snapshot to
    look in): then the names must be there, and numbers prove nothing.
    """

    tables: Mapping[str, TableContent]
    objects: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sequences: Mapping[str, str | None] = field(default_factory=dict)
    exact: bool = True

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables.values())

    @property
    def is_empty(self) -> bool:
        """No row anywhere. A backup of such a database is right only where there is nothing to lose."""
        return self.rows == 0

    def as_json(self) -> dict[str, Any]:
        return {
            "tables": {name: [table.rows, table.checksum] for name, table in self.tables.items()},
            "objects": {kind: list(lines) for kind, lines in self.objects.items()},
            "sequences": dict(self.sequences),
            "exact": self.exact,
        }


def content_from(document: Mapping[str, Any]) -> Content:
    """What `as_json` made. Raises KeyError, TypeError or ValueError for anything else."""
    return Content(
        tables={
            name: TableContent(int(rows), str(sum_)) for name, (rows, sum_) in document["tables"].items()
        },
        objects={kind: tuple(lines) for kind, lines in document["objects"].items()},
        sequences=dict(document["sequences"]),
        exact=bool(document["exact"]),
    )


def differences(expected: Content, found: Content, ignore: Collection[str] = ()) -> tuple[str, ...]:
    """What `found` has otherwise than `expected`, for people; empty when both are the same.

    `ignore` names kinds of objects that are not compared, such as "owners" in a copy without the source's roles.
    """
    told = [*_tables(expected, found), *_sequences(expected, found), *_objects(expected, found, ignore)]
    if len(told) > SHOWN:
        told = [*told[:SHOWN], f"and {len(told) - SHOWN} more differences"]
    return tuple(told)


def notes(expected: Content, found: Content) -> tuple[str, ...]:
    """What is not the same and makes no difference to the content, for people."""
    want, have = (dict(_split(line) for line in each.objects.get(VERSIONS, ())) for each in (expected, found))
    return tuple(
        f"the extension {name} is of version {have[name]} there, and was of {want[name]}"
        for name in sorted(want.keys() & have.keys())
        if want[name] != have[name]
    )


def _split(line: str) -> tuple[str, str]:
    name, _, version = line.rpartition(" ")
    return name, version


def _tables(expected: Content, found: Content) -> Iterator[str]:
    for name in sorted(expected.tables.keys() - found.tables.keys()):
        yield f"the table {name} ({expected.tables[name].rows} rows) is missing"
    if not expected.exact or not found.exact:
        return
    for name in sorted(found.tables.keys() - expected.tables.keys()):
        yield f"there is a table {name} too many ({found.tables[name].rows} rows)"
    for name in sorted(expected.tables.keys() & found.tables.keys()):
        want, have = expected.tables[name], found.tables[name]
        if want.rows != have.rows:
            yield f"{name} has {have.rows} rows instead of {want.rows}"
        elif want.checksum and have.checksum and want.checksum != have.checksum:
            yield f"{name} has other rows: checksum {have.checksum} instead of {want.checksum}"


def _sequences(expected: Content, found: Content) -> Iterator[str]:
    for name, value in sorted(expected.sequences.items()):
        if name not in found.sequences:
            yield f"the sequence {name} is missing"
            continue
        have = found.sequences[name]
        if expected.exact and found.exact and value is not None and have is not None and have != value:
            yield f"the sequence {name} stands at {have} instead of {value}"


def _objects(expected: Content, found: Content, ignore: Collection[str]) -> Iterator[str]:
    for kind in sorted(expected.objects.keys() - {VERSIONS, *ignore}):
        want, have = set(expected.objects[kind]), set(found.objects.get(kind, ()))
        yield from (f"{kind}: missing {line}" for line in sorted(want - have))
        if expected.exact and found.exact:
            yield from (f"{kind}: not expected {line}" for line in sorted(have - want))
