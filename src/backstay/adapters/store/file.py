"""The store in an SQLite file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, text

from backstay.adapters.store.engine import for_writing, translated, uses_write_ahead_log, writing_engine
from backstay.adapters.store.location import is_empty, refuse_network_file_system
from backstay.adapters.store.schema import MIGRATIONS, Standing
from backstay.adapters.store.upgrade import bring_up, standing_of
from backstay.errors import StoreError

T = TypeVar("T")


class FileDatabase:
    """The file at `path`, created or upgraded when it must be."""

    is_shared = False

    def __init__(self, path: Path, migrations: Path = MIGRATIONS) -> None:
        self.path = path
        refuse_network_file_system(path)
        if is_empty(path):
            bring_up(path, migrations)
        self._reads = writing_engine(path)
        self._writes = for_writing(self._reads)
        try:
            if not self._is_ready(migrations):
                bring_up(path, migrations)
        except StoreError:
            self.close()
            raise

    @property
    def name(self) -> str:
        return str(self.path)

    def rows(self, query: str, values: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
        with translated(self.path, "read"), self._reads.connect() as connection:
            return [row._asdict() for row in connection.execute(text(query), values)]

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """The write lock from its start, all or nothing, its errors translated."""
        with translated(self.path, "written"), self._writes.begin() as connection:
            yield connection

    def until_done(self, write: Callable[[], T]) -> T:
        """Once: a file has no connection that breaks, and whoever holds it locked was waited for already."""
        return write()

    def now_s(self) -> float:
        return time.time()

    def close(self) -> None:
        self._reads.dispose()

    def _is_ready(self, migrations: Path) -> bool:
        with translated(self.path, "opened"), self._reads.connect() as connection:
            stands = standing_of(connection, self.path, migrations)
            return stands is Standing.CURRENT and uses_write_ahead_log(connection)
