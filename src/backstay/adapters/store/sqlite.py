"""Everything that is SQLite's own and needs no more than the standard library: opening, copying, its files.

Readers use this alone, because importing SQLAlchemy takes longer than all of a short command.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from backstay.adapters.store.faults import BUSY_S
from backstay.adapters.store.location import FILE_MODE

WRITE: Final = "mode=rw"
READ: Final = "mode=ro"
"""Beside living writers; it needs the shared memory that they made."""
READ_QUIET: Final = "mode=ro&immutable=1"
"""A file nobody changes: takes no lock and makes no file. Look afterwards whether it really stayed the same."""


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection on which every commit is synced, with ten seconds of patience for a lock.

    Without an isolation level Python begins no transaction of its own. sqlite3.Error when it cannot be opened.
    """
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?{mode}",
        uri=True,
        timeout=BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def use_write_ahead_log(path: Path) -> None:
    """Turn WAL on, once for the life of the file. Nobody else may have it open."""
    with closing(connect(path, WRITE)) as connection:
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != ("wal",):
        raise sqlite3.OperationalError(f"journal mode is {mode}, and not WAL, on this file system")


def copy_database(source: Path, target: Path) -> None:
    """A consistent copy of a store others may write to; `target` appears complete or not at all."""
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    create_private(partial)
    with closing(connect(source, READ)) as have, closing(connect(partial, WRITE)) as copy:
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


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
