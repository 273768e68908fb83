"""Room for one more slot: disk, memory and database connections, needed against free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

UNPACKED: Final = 3.0
"""How many bytes a packed byte of an image layer takes on disk. A layer is kept packed too while it is unpacked."""

BACKUP_GROWTH: Final = 1.2
"""The next backup against the last one."""

SCRATCH_COPIES: Final = 2
"""How often a rehearsal has the database in scratch: as it was restored, and the copy that is being changed."""

INODES_PER_PACKED_MIB: Final = 100
"""Files in an image layer, by its packed size: a plentiful guess, as no registry tells the number."""


@dataclass(frozen=True, slots=True)
class Space:
    """A filesystem as seen at `path`. `device` tells two of them apart; `free_inodes` is None where files are
    not counted (btrfs). Bytes and inodes are those an unprivileged process may still use."""

    path: str
    device: int
    free_bytes: int
    free_inodes: int | None
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Need:
    """What somebody will write: `what` for people, where, how many bytes and files."""

    what: str
    path: str
    bytes: int
    inodes: int


@dataclass(frozen=True, slots=True)
class Filesystem:
    """One filesystem with all that is to be written to it."""

    space: Space
    needs: tuple[Need, ...]

    @property
    def bytes(self) -> int:
        return sum(need.bytes for need in self.needs)

    @property
    def inodes(self) -> int:
        return sum(need.inodes for need in self.needs)

    @property
    def faults(self) -> list[str]:
        """What is wrong here, with the numbers; empty when all fits."""
        found, space = [], self.space
        purpose = " + ".join(f"{need.what} {show_bytes(need.bytes)}" for need in self.needs)
        if space.read_only:
            found.append(f"{space.path} is read-only")
        if space.free_bytes < self.bytes:
            found.append(
                f"{space.path} has {show_bytes(space.free_bytes)} free, needed {show_bytes(self.bytes)} ({purpose})"
            )
        if space.free_inodes is not None and space.free_inodes < self.inodes:
            found.append(f"{space.path} has {space.free_inodes} inodes free, needed {self.inodes}")
        return found


def by_filesystem(needs: Iterable[tuple[Need, Space]]) -> list[Filesystem]:
    """Needs summed up per filesystem: two that fit alone may not fit together."""
    groups: dict[int, list[tuple[Need, Space]]] = {}
    for need, space in needs:
        groups.setdefault(space.device, []).append((need, space))
    return [Filesystem(group[0][1], tuple(need for need, _ in group)) for group in groups.values()]


def image_need(packed: int) -> tuple[int, int]:
    """Bytes and inodes to have ready for `packed` bytes of layers."""
    return int(packed * (1 + UNPACKED)), packed * INODES_PER_PACKED_MIB // 2**20


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of memory of a host: all of it, and what is available without swapping."""

    total: int
    available: int


@dataclass(frozen=True, slots=True)
class SlotMemory:
    """Memory limits (bytes) of the components that will start; None where a component has no limit."""

    limits: Mapping[str, int | None]

    @property
    def total(self) -> int:
        return sum(limit or 0 for limit in self.limits.values())

    @property
    def unlimited(self) -> tuple[str, ...]:
        return tuple(name for name, limit in self.limits.items() if limit is None)

    def beyond(self, memory: Memory) -> tuple[str, ...]:
        """Components whose own limit is more than the host has at all."""
        return tuple(name for name, limit in self.limits.items() if limit and limit > memory.total)


@dataclass(frozen=True, slots=True)
class Connections:
    """Connections of a database server.

    `limit` is what it takes in all, `reserved` what is kept for superusers, `used` what is taken by anybody.
    `mine` are those of the application's role to its database now, and `my_limit` the tightest limit of that
    role and database, or None.
    """

    limit: int
    reserved: int
    used: int
    mine: int = 0
    my_limit: int | None = None

    @property
    def free(self) -> int:
        """How many the application can still open."""
        left = self.limit - self.reserved - self.used
        return max(0, left if self.my_limit is None else min(left, self.my_limit - self.mine))


@dataclass(frozen=True, slots=True)
class Reach:
    """A database that answered: its server's version, its connections, and its size; None where nobody told."""

    version: str
    connections: Connections = field(default_factory=lambda: Connections(100, 3, 1))
    bytes: int | None = None


def show_bytes(count: int) -> str:
    """Bytes as people read them: `512 B`, `1.5 GiB`."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
