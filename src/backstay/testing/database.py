"""A database whose dumps are a few bytes, or fail on command."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from backstay.domain.room import Connections, Reach
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError
from backstay.ports.database import Dump


class FakeDatabase:
    """`fault` makes dumps fail, `unreachable` makes `reach` fail with that reason."""

    def __init__(self) -> None:
        self.unreachable: str | None = None
        self.connections = Connections(limit=100, reserved=3, used=10, mine=5)
        self.fault: str | None = None
        self.dumps: list[Path] = []

    def dump(self, url: Secret, into: Path, stopped: Callable[[], bool]) -> Dump:
        if self.fault is not None:
            raise DatabaseError(self.fault)
        self.dumps.append(into)
        return Dump(into, 4, hashlib.sha256(b"dump").hexdigest())

    def reach(self, url: Secret, role: str, deadline_s: float) -> Reach:
        if self.unreachable is not None:
            raise DatabaseError(self.unreachable)
        return Reach("15.6", self.connections)
