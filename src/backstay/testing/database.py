"""A database whose dumps are a few bytes, or fail on command."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from backstay.domain.backup import BackupKind, BackupLimits
from backstay.domain.content import Content, TableContent
from backstay.domain.room import Connections, Reach
from backstay.domain.secret import Secret
from backstay.domain.server import ServerFacts
from backstay.errors import DatabaseError
from backstay.ports.database import (
    CopyOrder,
    Damaged,
    Dump,
    DumpOrder,
    InUse,
    NameTaken,
    NotEmpty,
    RestoreOrder,
)

CONTENT = b"dump"
FACTS = ServerFacts(
    "15.6", 15, "7711", "shop", 8_000_000, "UTF8", "C.UTF-8", {}, ("shop",), xid=100, wal_lsn="0/100"
)


class FakeDatabase:
    """Databases by URL, and the dumps made of them.

    `holds` is what is in the database of each URL (any other has one table); a dump remembers it, a restore copies
    it to the target, which must be in `empty`. `fault` is the message of the next failures; `undeletable` stay;
    `unreachable` makes `reach`, `facts` and `content` fail with that reason; `damaged` dumps are refused with the
    reason given there; those in
    `being_read` cannot be removed; `copy_fault` is the message of the next failures to copy. `half_way` is
    called while a dump is written, or restored.
    """

    def __init__(self) -> None:
        self.unreachable: str | None = None
        self.connections = Connections(limit=100, reserved=3, used=10, mine=5)
        self.bytes: int | None = 1 << 20
        self.fault: str | None = None
        self.undeletable: str | None = None
        self.copy_fault: str | None = None
        self.copies: list[CopyOrder] = []
        self.orders: list[DumpOrder] = []
        self.restores: list[RestoreOrder] = []
        self.unpacked: list[tuple[Path, Path]] = []
        self.files: dict[Path, int] = {}
        self.contents: dict[Path, Content | None] = {}
        self.damaged: dict[Path, str] = {}
        self.being_read: set[Path] = set()
        self.holds: dict[str, Content] = {}
        self.empty: set[str] = set()
        self.notes: tuple[str, ...] = ()
        self.server = FACTS
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
        content = self.contents[path] = self._held(order.url) if order.checksums else None
        kind = order.kind or BackupKind.LOGICAL
        return Dump(
            path, len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), self.notes, kind, content, bool(order.recipients),
            self.server, read=len(CONTENT), took_s=1.0,
        )  # fmt: skip

    def examine(self, dump: Path, sha256: str | None = None) -> None:
        if dump in self.damaged or dump not in self.files:
            raise Damaged(self.damaged.get(dump, f"{dump} is missing"))

    def manifest(self, dump: Path) -> Mapping[str, Any]:
        self.examine(dump)
        content = self.contents.get(dump)
        return {
            "format": 2,
            "database": self.server.as_json(),
            "content": content.as_json() if content else None,
            "files": {"dump": {"name": dump.name, "bytes": len(CONTENT), "sha256": ""}},
        }

    def content_of(self, dump: Path) -> Content | None:
        self.examine(dump)
        return self.contents.get(dump)

    def restore(self, order: RestoreOrder) -> tuple[str, ...]:
        self.examine(order.dump)
        if order.into.reveal() not in self.empty:
            raise NotEmpty("the database is not empty")
        if self.fault is not None:
            raise DatabaseError(self.fault)
        self.restores.append(order)
        self.empty.remove(order.into.reveal())
        self.half_way("database.restore, half of it")
        self.holds[order.into.reveal()] = self.contents.get(order.dump) or Content({})
        return ()

    def unpack(
        self,
        dump: Path,
        into: Path,
        identity: Secret | None = None,
        *,
        sha256: str | None = None,
        limits: BackupLimits | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.examine(dump)
        self.unpacked.append((dump, into))

    def copy(self, order: CopyOrder) -> None:
        self.examine(order.dump)
        if self.copy_fault is not None:
            raise DatabaseError(self.copy_fault)
        self.copies.append(order)

    def content(self, url: Secret, deadline_s: float, *, helpers: int = 0) -> Content:
        if self.unreachable is not None:
            raise DatabaseError(self.unreachable)
        return self._held(url)

    def facts(self, url: Secret) -> ServerFacts:
        if self.unreachable is not None:
            raise DatabaseError(self.unreachable)
        return self.server

    def size_of(self, dump: Path) -> int | None:
        return self.files.get(dump)

    @contextlib.contextmanager
    def reading(self, dump: Path) -> Iterator[None]:
        if dump not in self.files:
            raise Damaged(f"{dump} is missing")
        self.being_read.add(dump)
        try:
            yield
        finally:
            self.being_read.discard(dump)

    def is_read(self, dump: Path) -> bool:
        return dump in self.being_read

    @contextlib.contextmanager
    def removal(self, dump: Path) -> Iterator[None]:
        if self.is_read(dump):
            raise InUse(f"{dump.name} is being read")
        yield
        if self.undeletable is not None:
            raise DatabaseError(self.undeletable)
        self.files.pop(dump, None)

    def discard(self, dump: Path) -> None:
        with self.removal(dump):
            pass

    def sweep(self, folder: Path) -> list[str]:
        left = [path for path in self.files if path.parent == folder and path.name.endswith(".partial")]
        for path in left:
            del self.files[path]
        return [path.name for path in left]

    def reach(self, url: Secret, role: str, deadline_s: float) -> Reach:
        if self.unreachable is not None:
            raise DatabaseError(self.unreachable)
        return Reach("15.6", self.connections, self.bytes)

    def write(self, url: Secret, rows: int = 1) -> None:
        """As if an application wrote: the content changes and transactions go by."""
        held = self._held(url)
        tables = dict(held.tables)
        tables["public.t"] = TableContent(tables["public.t"].rows + rows, str(self.server.xid))
        self.holds[url.reveal()] = replace(held, tables=tables)
        self.server = replace(self.server, xid=(self.server.xid or 0) + rows)

    def _held(self, url: Secret) -> Content:
        return self.holds.get(url.reveal(), Content({"public.t": TableContent(3, "7")}))
