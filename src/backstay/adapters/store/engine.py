"""Everything that is SQLite's own: how connections open, what they promise, and how a file is copied.

Writers: WAL, every commit synced to the disk, ten seconds of patience for a lock, and transactions that take
the write lock at their start, so none fails half way because it read first. Readers: opened read-only.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool, Pool, QueuePool

from backstay.adapters.store.faults import BUSY_S
from backstay.adapters.store.location import FILE_MODE

_WRITES: Final = "backstay_writes"


def writing_engine(path: Path) -> Engine:
    """An engine for reads; `for_writing` of it is for writes. Connections stay open, and may change threads.

    It must not be carried into a forked process: SQLite's locks do not survive that.
    """
    return _engine(path, "mode=rw", QueuePool, foreign_keys=True)


def migrating_engine(path: Path) -> Engine:
    """An engine for schema changes: rebuilding a table must not trip over rows that point to it."""
    return for_writing(_engine(path, "mode=rw", NullPool, foreign_keys=False))


def reading_engine(path: Path) -> Engine:
    """An engine that only reads, beside living writers. It needs the shared memory the writers made."""
    return _engine(path, "mode=ro", NullPool, foreign_keys=False)


def quiet_engine(path: Path) -> Engine:
    """An engine that only reads a file nobody changes: it takes no lock and makes no file.

    The caller must look afterwards whether the file really stayed the same.
    """
    return _engine(path, "mode=ro&immutable=1", NullPool, foreign_keys=False)


def for_writing(engine: Engine) -> Engine:
    """The same engine and connections, with transactions that hold the write lock from their start."""
    return engine.execution_options(**{_WRITES: True})


def use_write_ahead_log(path: Path) -> None:
    """Turn WAL on, once for the life of the file. Nobody else may have it open."""
    with closing(_connect(path, "mode=rw")) as connection:
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != ("wal",):
        raise sqlite3.OperationalError(f"journal mode is {mode}, and not WAL, on this file system")


def uses_write_ahead_log(connection: Connection) -> bool:
    """Whether WAL is on; a store that came back by way of another tool may have lost it."""
    return bool(connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal")


def copy_database(source: Path, target: Path) -> None:
    """A consistent copy of a store others may write to; `target` appears complete or not at all."""
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    create_private(partial)
    with closing(_connect(source, "mode=ro")) as have, closing(_connect(partial, "mode=rw")) as copy:
        have.backup(copy)
    settle(partial, target)


def create_private(path: Path) -> None:
    """An empty file only its owner can read. FileExistsError when something is there."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE))


def settle(partial: Path, target: Path) -> None:
    """Rename a finished file to its place so that a power cut leaves the old one or the new one, whole."""
    _sync(partial)
    partial.replace(target)
    _sync(target.parent)


def companions(path: Path) -> tuple[Path, Path]:
    """The write-ahead log and the shared memory that may lie beside a store."""
    return path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")


def _engine(path: Path, query: str, pool: type[Pool], *, foreign_keys: bool) -> Engine:
    def connect() -> sqlite3.Connection:
        connection = _connect(path, query)
        if foreign_keys:
            connection.execute("PRAGMA foreign_keys=ON")
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=pool)
    event.listen(engine, "begin", _begin)
    return engine


def _connect(path: Path, query: str) -> sqlite3.Connection:
    # Without an isolation level Python begins no transaction of its own; `_begin` does.
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?{query}",
        uri=True,
        timeout=BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
