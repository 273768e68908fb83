"""SQLAlchemy engines on an SQLite file, for what writes.

WAL, every commit synced to the disk, ten seconds of patience for a lock, and transactions that take the write
lock at their start, so none fails half way because it read first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool, Pool, QueuePool

from backstay.adapters.store import faults, sqlite

_WRITES: Final = "backstay_writes"


def writing_engine(path: Path) -> Engine:
    """An engine for reads; `for_writing` of it is for writes. Connections stay open, and may change threads.

    It must not be carried into a forked process: SQLite's locks do not survive that.
    """
    return _engine(path, QueuePool, foreign_keys=True)


def migrating_engine(path: Path) -> Engine:
    """An engine for schema changes: rebuilding a table must not trip over rows that point to it."""
    return for_writing(_engine(path, NullPool, foreign_keys=False))


def for_writing(engine: Engine) -> Engine:
    """The same engine and connections, with transactions that hold the write lock from their start."""
    return engine.execution_options(**{_WRITES: True})


def uses_write_ahead_log(connection: Connection) -> bool:
    """Whether WAL is on; a store that came back by way of another tool may have lost it."""
    return bool(connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal")


@contextmanager
def translated(path: Path, doing: str) -> Iterator[None]:
    """As faults.translated, and SQLAlchemy's own errors with it."""
    with faults.translated(path, doing):
        try:
            yield
        except DBAPIError as error:
            raise faults.store_error(path, doing, error.orig or error) from error
        except SQLAlchemyError as error:
            raise faults.store_error(path, doing, error) from error


def _engine(path: Path, pool: type[Pool], *, foreign_keys: bool) -> Engine:
    def connect() -> sqlite3.Connection:
        connection = sqlite.connect(path, sqlite.WRITE)
        if foreign_keys:
            connection.execute("PRAGMA foreign_keys=ON")
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=pool)
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
