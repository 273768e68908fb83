"""Opening a store for work: in a file, or on a server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from backstay.adapters.store.file import FileDatabase
from backstay.adapters.store.location import Location, located
from backstay.adapters.store.schema import MIGRATIONS
from backstay.adapters.store.writer import SqlStore
from backstay.ports.clock import Clock


def open_store(
    location: Location,
    clock: Clock | None = None,
    *,
    migrations: Path = MIGRATIONS,
    tell: Callable[[str], None] | None = None,
) -> SqlStore:
    """The store at a path, `sqlite:///PATH` or `postgresql+psycopg://…`, for reading and writing. See SqlStore.

    It is created or upgraded when it must be. `tell` hears of outages of a server (default: standard error).
    """
    place = located(location)
    if isinstance(place, Path):
        return SqlStore(FileDatabase(place, migrations), clock)
    from backstay.adapters.store.server.patience import tell_on_stderr
    from backstay.adapters.store.server.writing import ServerDatabase

    return SqlStore(ServerDatabase(place, migrations, tell or tell_on_stderr), clock)
