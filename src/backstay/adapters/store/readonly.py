"""Reading a store without leaving a trace.

SQLite makes two files beside a WAL database even for a reader. So a file that nobody has open is read as an
immutable one, with a look before and after whether that was true; beside living writers their files are used;
and what a crashed host left behind without its shared memory is read from a copy.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from backstay.adapters.store.faults import translated
from backstay.adapters.store.location import look_at
from backstay.adapters.store.schema import (
    HAS_REVISION,
    MIGRATIONS,
    REVISION,
    Standing,
    not_a_store,
    standing,
    too_old,
)
from backstay.adapters.store.sqlite import READ, READ_QUIET, companions, connect
from backstay.errors import StoreError

_ATTEMPTS: Final = 20


@dataclass(frozen=True, slots=True)
class _Look:
    """What lies on the disk at one moment; two equal looks mean that nothing was written between them."""

    file: tuple[int, int, int]
    log: tuple[int, int, int] | None
    shared: bool

    @property
    def is_quiet(self) -> bool:
        return self.log is None or self.log[1] == 0


class ReadOnlyFile:
    """Answers queries from the file at `path`, which may be missing (no rows) and is never changed."""

    is_shared = False

    def __init__(self, path: Path, migrations: Path = MIGRATIONS) -> None:
        self._path = path
        self._migrations = migrations
        self._known_schema = False

    def rows(self, query: str, values: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
        """The rows of a SELECT. Raises StoreError: damaged, unreadable, or of another schema."""
        for _ in range(_ATTEMPTS):
            before = self._look()
            if before is None or before.file[1] == 0:
                return []
            try:
                rows = self._read(before, query, values)
            except StoreError:
                if self._look() == before:
                    raise
                continue
            if (not before.is_quiet and before.shared) or self._look() == before:
                return rows
        # Somebody writes so busily that no moment is quiet; then the shared memory is there as well.
        return self._ask(self._path, READ, query, values)

    def now_s(self) -> float:
        """The clock of this host: nobody else uses the file."""
        return time.time()

    def close(self) -> None:
        """Nothing is held open between two questions."""

    def _read(self, look: _Look, query: str, values: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
        if look.is_quiet:
            return self._ask(self._path, READ_QUIET, query, values)
        if look.shared:
            return self._ask(self._path, READ, query, values)
        log, _ = companions(self._path)
        with tempfile.TemporaryDirectory(prefix="backstay-") as folder:
            copy = Path(folder) / self._path.name
            with translated(self._path, "read"):
                shutil.copyfile(self._path, copy)
                shutil.copyfile(log, companions(copy)[0])
            return self._ask(copy, READ, query, values)

    def _ask(self, path: Path, mode: str, query: str, values: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
        with translated(self._path, "read"), closing(connect(path, mode)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("BEGIN")
            if not self._known_schema:
                self._check_schema(connection)
            return [dict(row) for row in connection.execute(query, values)]

    def _check_schema(self, connection: sqlite3.Connection) -> None:
        if not connection.execute(HAS_REVISION).fetchone()[0]:
            raise not_a_store(self._path)
        revision = connection.execute(REVISION).fetchone()
        if standing(revision[0] if revision else None, self._path, self._migrations) is Standing.OLD:
            raise too_old(self._path)
        self._known_schema = True

    def _look(self) -> _Look | None:
        log, shared = companions(self._path)
        file = _mark(self._path)
        return _Look(file, _mark(log), look_at(shared) is not None) if file else None


def _mark(path: Path) -> tuple[int, int, int] | None:
    have = look_at(path)
    return (have.st_ino, have.st_size, have.st_mtime_ns) if have else None
