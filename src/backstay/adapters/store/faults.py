"""What can go wrong with the file of a store, said in words a person can act on."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from backstay.errors import StoreError

BUSY_S: Final = 10.0

_RIGHTS = "check the owner and the mode of the file, its folder, and whether the disk is mounted read-only"
_DAMAGE = "keep the file, put back a copy of it (a backup, or {name}.before-…), then run `backstay recover`"

# By the start of SQLite's error name: what happened, and what to do about it.
_KNOWN: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "SQLITE_BUSY",
        f"another process kept it locked for more than {BUSY_S:g} s",
        "try again; `fuser -v {path}` shows who has it open",
    ),
    ("SQLITE_LOCKED", "another connection keeps it locked", "try again"),
    ("SQLITE_FULL", "the disk is full", "free some space where {folder} lies, then try again"),
    ("SQLITE_READONLY", "it may not be written", _RIGHTS),
    ("SQLITE_PERM", "access was denied", _RIGHTS),
    ("SQLITE_AUTH", "access was denied", _RIGHTS),
    ("SQLITE_CANTOPEN", "it cannot be opened", _RIGHTS),
    ("SQLITE_NOTADB", "the file is damaged or is not a state store", _DAMAGE),
    ("SQLITE_CORRUPT", "the file is damaged", _DAMAGE),
    (
        "SQLITE_IOERR",
        "the disk failed to read or write",
        "look at the kernel log (`dmesg`) and the disk, then try again",
    ),
    ("SQLITE_CONSTRAINT", "it refused the row", "this is a fault in Backstay; please report it"),
)

# What SQLite says when the files beside the database cannot be made.
_SEEN_ON_A_FULL_DISK: Final = ("SQLITE_IOERR", "SQLITE_CANTOPEN")
_ROOM: Final = 64 * 1024
"""Bytes that SQLite needs for the files beside a database."""


@contextmanager
def translated(path: Path, doing: str) -> Iterator[None]:
    """Turn what SQLite and the operating system raise into StoreError.

    `doing` completes "the state store cannot be …": opened, read, written, made or upgraded.
    """
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise store_error(path, doing, error) from error


def name_of(error: BaseException) -> str:
    """SQLite's own name of an error, or an empty string."""
    return str(getattr(error, "sqlite_errorname", "") or "")


def store_error(path: Path, doing: str, error: BaseException) -> StoreError:
    """The StoreError for an error of the database: what happened, and what to do about it."""
    name = name_of(error)
    if name.startswith(_SEEN_ON_A_FULL_DISK) and _is_full(path.parent):
        name = "SQLITE_FULL"
    for start, why, hint in _KNOWN:
        if name.startswith(start):
            advice = hint.format(path=path, folder=path.parent, name=path.name)
            return StoreError(f"the state store {path} cannot be {doing}: {why} ({error})", hint=advice)
    cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return StoreError(f"the state store {path} cannot be {doing}: {cause}", hint=_RIGHTS)


def _is_full(folder: Path) -> bool:
    try:
        room = os.statvfs(folder)
    except OSError:
        return False
    return room.f_bavail * room.f_frsize < _ROOM
