"""A database whose dumps are a few bytes, or fail on command."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from backstay.domain.room import Connections, Reach
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError
from backstay.ports.database import Dump, DumpOrder, NameTaken

CONTENT = b"dump"


class FakeDatabase:
    """Remembers its dumps and their sizes. `fault` is the message of the next failures; `undeletable` stay;
    `unreachable` makes `reach` fail with that reason. `half_way` is called while a dump is written."""

    def __init__(self) -> None:
        self.unreachable: str | None = None
        self.connections = Connections(limit=100, reserved=3, used=10, mine=5)
        self.fault: str | None = None
        self.undeletable: str | None = None
        self.orders: list[DumpOrder] = []
        self.files: dict[Path, int] = {}
        self.notes: tuple[str, ...] = ()
        self.half_way: Callable[[str], None] = lambda what: None

    @property
    def dumps(self) -> list[Path]:
        """Every dump that was ever finished, in order."""
        return [order.folder / f"{order.name}.dump" for order in self.orders]

    def dump(self, order: DumpOrder) -> Dump:
        if self.fault is not None:
            raise DatabaseError(self.fault)
        path = order.folder / f"{order.name}.dump"
        if path in self.files:
            raise NameTaken(f"{path} is there already")
        partial = path.with_name(path.name + ".partial")
        self.files[partial] = 0
        self.half_way("database.dump, partial")
        del self.files[partial]
        self.orders.append(order)
        self.files[path] = len(CONTENT)
        return Dump(path, len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), self.notes)

    def size_of(self, dump: Path) -> int | None:
        return self.files.get(dump)

    def discard(self, dump: Path) -> None:
        if self.undeletable is not None:
            raise DatabaseError(self.undeletable)
        self.files.pop(dump, None)

    def sweep(self, folder: Path) -> list[str]:
        left = [path for path in self.files if path.parent == folder and path.name.endswith(".partial")]
        for path in left:
            del self.files[path]
        return [path.name for path in left]

    def reach(self, url: Secret, role: str, deadline_s: float) -> Reach:
        if self.unreachable is not None:
            raise DatabaseError(self.unreachable)
        return Reach("15.6", self.connections)
