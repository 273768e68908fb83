"""Reading a store on a server with psycopg alone, in transactions that cannot write."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from backstay.adapters.store.schema import MIGRATIONS, Standing, too_old
from backstay.adapters.store.server.address import Server
from backstay.adapters.store.server.connection import StoreConnection, connect
from backstay.adapters.store.server.faults import translated
from backstay.adapters.store.server.patience import OPENING_S, PATIENCE_S, Tell, persist, tell_on_stderr
from backstay.adapters.store.server.questions import NOW, Rows, asked
from backstay.adapters.store.server.schema import LOOK, REVISION, stands


class ReadOnlyServer:
    """Answers queries from the tables on `server`, which may be missing (no rows) and are never changed.

    One connection, opened at the first question; a second thread waits for its turn.
    """

    is_shared = True
    patience_s = PATIENCE_S

    def __init__(self, server: Server, migrations: Path = MIGRATIONS, tell: Tell = tell_on_stderr) -> None:
        self._server = server
        self._migrations = migrations
        self._tell = tell
        self._lock = threading.RLock()
        self._connection: StoreConnection | None = None
        self._ever_answered = False
        self._known_schema = False

    def rows(self, query: str, values: Mapping[str, Any]) -> Rows:
        """The rows of a SELECT. Raises StoreError: unreachable, unreadable, or of another schema."""

        def ask(connection: StoreConnection) -> Rows:
            return asked(connection, query, values) if self._has_tables(connection) else []

        return self._persist(ask)

    def now_s(self) -> float:
        return float(self._persist(lambda connection: asked(connection, NOW, {}))[0]["now_s"])

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()

    def _persist(self, ask: Callable[[StoreConnection], Rows]) -> Rows:
        def attempt() -> Rows:
            with self._lock, translated(self._server, "read"):
                answer = ask(self._connected())
                self._ever_answered = True
                return answer

        return persist(attempt, self.patience_s if self._ever_answered else OPENING_S, self._tell)

    def _connected(self) -> StoreConnection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._server, read_only=True)
            weakref.finalize(self, self._connection.close)  # nobody has to remember to close a reader
        return self._connection

    def _has_tables(self, connection: StoreConnection) -> bool:
        """Whether there is a store; StoreError when it is not one that this program can read."""
        if self._known_schema:
            return True
        [seen] = asked(connection, LOOK, {})
        found = asked(connection, REVISION, {}) if seen["has_revision"] else []
        revision = found[0]["version_num"] if found else None
        standing = stands(self._server, seen, revision, self._migrations)
        if standing is Standing.OLD:
            raise too_old(self._server)
        self._known_schema = standing is Standing.CURRENT
        return self._known_schema
