"""Bringing the schema of a store in a file up to what this program knows."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text

from backstay.adapters.store.engine import migrating_engine, translated
from backstay.adapters.store.location import FILE_MODE, is_empty, make_folder
from backstay.adapters.store.migrate import migrate
from backstay.adapters.store.schema import (
    HAS_REVISION,
    MIGRATIONS,
    REVISION,
    Standing,
    not_a_store,
    revisions,
    standing,
)
from backstay.adapters.store.sqlite import (
    companions,
    copy_database,
    create_private,
    settle,
    use_write_ahead_log,
)
from backstay.errors import StoreError

LOCK_PATIENCE_S: Final = 60.0
_POLL_S: Final = 0.02


def standing_of(connection: Connection, path: Path, migrations: Path = MIGRATIONS) -> Standing:
    """How the schema stands. StoreError when it is newer than this program, or no store at all."""
    if not connection.execute(text(HAS_REVISION)).scalar_one():
        raise not_a_store(path)
    return standing(connection.execute(text(REVISION)).scalar_one_or_none(), path, migrations)


def bring_up(path: Path, migrations: Path = MIGRATIONS) -> None:
    """Create the store, or turn WAL on, upgrade it and keep a copy `NAME.before-REVISION`.

    One process at a time; the others wait for it and find nothing left to do. Raises StoreError.
    """
    make_folder(path)
    with translated(path, "made or upgraded"), _alone(path):
        if is_empty(path):
            _create(path, migrations)
        else:
            _upgrade(path, migrations)


def _create(path: Path, migrations: Path) -> None:
    """Build the store under another name, so that nobody ever sees half of one."""
    log, _ = companions(path)
    if not is_empty(log):
        raise StoreError(
            f"the state store {path} is gone, but its log {log.name} is still there",
            hint=f"put {path.name} back beside it, or move {log.name} away to begin with an empty store",
        )
    fresh = path.with_name(path.name + ".new")
    for left in (fresh, *companions(fresh)):
        left.unlink(missing_ok=True)
    create_private(fresh)
    use_write_ahead_log(fresh)
    _migrate(fresh, migrations)
    settle(fresh, path)


def _upgrade(path: Path, migrations: Path) -> None:
    engine = migrating_engine(path)
    with engine.connect() as connection:
        stands = standing_of(connection, path, migrations)
    use_write_ahead_log(path)
    if stands is Standing.CURRENT:
        return
    copy_database(path, path.with_name(f"{path.name}.before-{revisions(migrations)[-1]}"))
    _migrate(path, migrations)


def _migrate(path: Path, migrations: Path) -> None:
    """All migrations or none."""
    with migrating_engine(path).begin() as connection:
        migrate(connection, str(path), migrations)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock file of the store. It is left in place: removing it would let two hold it at once."""
    handle = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, FILE_MODE)
    try:
        _wait_for_lock(handle, path)
        yield
    finally:
        os.close(handle)


def _wait_for_lock(handle: int, path: Path) -> None:
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StoreError(
                    f"another process is upgrading the state store {path} for over {LOCK_PATIENCE_S:g} s",
                    hint=f"`fuser -v {path}.lock` shows which one; wait for it, or end it and try again",
                ) from None
        time.sleep(_POLL_S)
