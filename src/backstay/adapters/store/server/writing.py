"""The store in a database on a server: every write once, whatever happens to the connection meanwhile.

A connection can break while its commit is on the way, and then nobody here knows whether it happened. So each
transaction first enters a key of its own into the table `writes`. After a break the key tells: entering it once more
waits for the old transaction, should that still be under way, and fails exactly when it was committed.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

import psycopg
from sqlalchemy import Connection

from backstay.adapters.store.schema import MIGRATIONS, Standing
from backstay.adapters.store.server.address import Server
from backstay.adapters.store.server.engine import translated, writing_engine
from backstay.adapters.store.server.faults import Away
from backstay.adapters.store.server.patience import OPENING_S, PATIENCE_S, Tell, persist, tell_on_stderr
from backstay.adapters.store.server.questions import NOW, Rows, asked
from backstay.adapters.store.server.upgrade import bring_up, standing_of
from backstay.errors import StoreError

T = TypeVar("T")

KEPT_S: Final = 24 * 3600.0
"""How long the last key of a process that is gone stays: far longer than anybody could ask for it."""

_BEGIN: Final = """
BEGIN;
WITH gone AS (DELETE FROM writes WHERE key = ANY(%(settled)s) OR at < %(oldest)s)
INSERT INTO writes (key, at) VALUES (%(key)s, CAST(extract(epoch FROM clock_timestamp()) AS float8))
ON CONFLICT DO NOTHING RETURNING at
"""


@dataclass
class _Write:
    """A write that is under way in this thread: its key, and the server's time once its transaction has begun."""

    key: str
    now_s: float | None = None


class ServerDatabase:
    """The tables on `server`, made or upgraded when they must be. Outages are told by `tell`."""

    is_shared = True
    patience_s = PATIENCE_S

    def __init__(self, server: Server, migrations: Path = MIGRATIONS, tell: Tell = tell_on_stderr) -> None:
        self.server = server
        self._tell = tell
        self._engine = writing_engine(server)
        self._here = threading.local()
        self._settled: deque[str] = deque()
        try:
            persist(lambda: self._make_ready(migrations), OPENING_S, tell)
            self._oldest = self.now_s() - KEPT_S
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        return self.server.name

    def rows(self, query: str, values: Mapping[str, Any]) -> Rows:
        def ask() -> Rows:
            with self._connected("read") as connection:
                return asked(_psycopg(connection), query, values)

        return persist(ask, self.patience_s, self._tell)

    def until_done(self, write: Callable[[], T]) -> T:
        def attempt() -> T:
            with self._writing(_Write(key)):
                return write()

        key = uuid4().hex
        return persist(attempt, self.patience_s, self._tell)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All or nothing. Raises Away when it did not happen and may be done again; otherwise it happened."""
        write: _Write | None = getattr(self._here, "write", None)
        if write is None:
            raise RuntimeError("a write that is not @retried")
        with self._connected("written") as connection:
            whole = connection.begin()
            settled = self._begin(connection, write)
            try:
                yield connection
            except BaseException:
                self._settled.extend(settled)
                raise
            try:
                with translated(self.server, "written"):
                    whole.commit()
            except Away as away:
                if not self._happened(write.key, away):
                    raise
        self._settled.append(write.key)

    def now_s(self) -> float:
        write: _Write | None = getattr(self._here, "write", None)
        if write is not None and write.now_s is not None:
            return write.now_s
        return float(self.rows(NOW, {})[0]["now_s"])

    def close(self) -> None:
        self._engine.dispose()

    def _make_ready(self, migrations: Path) -> None:
        with self._connected("opened") as connection:
            current = standing_of(connection, self.server, migrations) is Standing.CURRENT
        if not current:
            with self._connected("made or upgraded") as connection:
                bring_up(connection, self.server, migrations)

    @contextmanager
    def _connected(self, doing: str) -> Iterator[Connection]:
        """A connection that is given back afterwards, unless something ails it: a new one may be well."""
        with translated(self.server, doing), self._engine.connect() as connection:
            try:
                with translated(self.server, doing):
                    yield connection
            except BaseException as error:
                if not connection.invalidated and (isinstance(error, Away) or _psycopg(connection).closed):
                    connection.invalidate()
                raise

    @contextmanager
    def _writing(self, write: _Write) -> Iterator[None]:
        """Remember the write for this thread; a signal handler may write in the middle of another write."""
        before: _Write | None = getattr(self._here, "write", None)
        self._here.write = write
        try:
            yield
        finally:
            self._here.write = before

    def _begin(self, connection: Connection, write: _Write) -> list[str]:
        """Begin the transaction with its key, which gives the server's time; the keys of others that went with it."""
        settled = self._take_settled()
        try:
            write.now_s = _entered(connection, write.key, settled, self._oldest)
        except BaseException:
            self._settled.extend(settled)
            raise
        if write.now_s is None:
            raise RuntimeError("a write with two transactions")
        self._oldest = 0.0  # once is enough
        return settled

    def _take_settled(self) -> list[str]:
        """The keys of finished writes, for one thread to take away with its own write."""
        taken = []
        with suppress(IndexError):
            while True:
                taken.append(self._settled.popleft())
        return taken

    def _happened(self, key: str, away: StoreError) -> bool:
        """Whether a transaction whose commit got no answer is done. StoreError when nobody can tell in time."""

        def enter_again() -> bool:
            with self._connected("written") as connection, connection.begin() as whole:
                is_new = _entered(connection, key) is not None
                whole.rollback()
                return not is_new

        try:
            return persist(enter_again, self.patience_s, self._tell)
        except StoreError as error:
            raise StoreError(
                f"{error.message}; the connection broke during a commit",
                hint=error.hint,
                state="whether the last write happened is not known; `backstay status` shows it once the store answers",
            ) from away


def _entered(
    connection: Connection, key: str, settled: Sequence[str] = (), oldest: float = 0.0
) -> float | None:
    """Begin a transaction and enter `key`: the server's time in epoch seconds, or None when it is there already.

    Waits for a transaction that has entered the key and not ended. All in one message, for each takes its time.
    """
    with psycopg.ClientCursor(_psycopg(connection)) as cursor:
        cursor.execute(_BEGIN, {"key": key, "settled": list(settled), "oldest": oldest})
        cursor.nextset()
        row = cursor.fetchone()
        return float(row[0]) if row else None


def _psycopg(connection: Connection) -> psycopg.Connection[Any]:
    """The connection beneath one of SQLAlchemy's."""
    beneath = connection.connection.driver_connection
    assert isinstance(beneath, psycopg.Connection)
    return beneath
