"""Making and upgrading the tables of a store on a server, one process of all hosts at a time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text

from backstay.adapters.store.migrate import migrate
from backstay.adapters.store.schema import Standing
from backstay.adapters.store.server.address import Server
from backstay.adapters.store.server.schema import LOOK, REVISION, refuse_unsafe, stands
from backstay.errors import StoreError

LOCK_PATIENCE_S: Final = 60.0
_POLL_S: Final = 0.05
_LOCK: Final = text("SELECT pg_try_advisory_xact_lock(7226, hashtext(current_schema()))")
"""7226 keeps our lock apart from those of other programs in the database; so do two schemas from each other."""


def standing_of(connection: Connection, server: Server, migrations: Path) -> Standing | None:
    """How the schema stands; None when there is none yet. StoreError when the server or the schema will not do."""
    seen = connection.execute(text(LOOK)).one()._asdict()
    refuse_unsafe(server, seen)
    revision = connection.execute(text(REVISION)).scalar_one_or_none() if seen["has_revision"] else None
    return stands(server, seen, revision, migrations)


def bring_up(connection: Connection, server: Server, migrations: Path) -> None:
    """Make or upgrade the tables in one transaction. Others wait for it and find nothing left to do."""
    with connection.begin():
        connection.execute(text("BEGIN"))
        _wait_for_lock(connection, server)
        if standing_of(connection, server, migrations) is not Standing.CURRENT:
            migrate(connection, server.name, migrations)


def _wait_for_lock(connection: Connection, server: Server) -> None:
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while not connection.execute(_LOCK).scalar_one():
        if time.monotonic() > deadline:
            raise StoreError(
                f"another process is upgrading the state store {server} for over {LOCK_PATIENCE_S:g} s",
                hint="pg_locks there shows which session holds the advisory lock; wait for it, or end it",
            )
        time.sleep(_POLL_S)
