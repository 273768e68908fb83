"""A look at what a migration does, from beside: strong table locks, how long a visitor waits, and the server's log."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Self

from backstay.adapters.scratch import sql
from backstay.adapters.scratch.log import ServerLog, statements_in
from backstay.domain.rehearsal import STRONG, Lock, Statement, Trace, is_schema_change, longest
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError

EVERY_S: Final = 0.02
"""Time between two looks: a lock that is held for less is not seen, and hurts nobody."""
READER, WRITER = "AccessShareLock", "RowExclusiveLock"
_END_S: Final = 5.0

# Only tables that others see: one that was made in a transaction that is still open keeps nobody waiting.
_LOCKS: Final = f"""
SELECT l.pid, format('%I.%I', n.nspname, c.relname), l.mode, c.reltuples::bigint, a.query
FROM pg_locks l
JOIN pg_stat_activity a ON a.pid = l.pid
JOIN pg_class c ON c.oid = l.relation
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE l.locktype = 'relation' AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.mode IN ({", ".join(f"'{mode}'" for mode in STRONG)})
  AND c.relkind IN ('r', 'p', 'm') AND n.nspname !~ '^pg_'
  AND a.backend_type = 'client backend' AND a.application_name NOT LIKE 'backstay%'
"""
_DOING: Final = """
SELECT pid, query, query_start FROM pg_stat_activity
WHERE datname = current_database() AND state = 'active' AND backend_type = 'client backend'
  AND application_name NOT LIKE 'backstay%'
"""


class DatabaseWatch:
    """Implements ports.scratch.Watch. The log is read only where it is ours; else statements are those that a look
    happened to meet."""

    def __init__(self, url: Secret, *, reads_log: bool) -> None:
        self._url = url
        self._log = ServerLog(url) if reads_log else None
        self._end = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._visitors: list[_Visitor] = []
        self._holding: dict[tuple[int, str, str], _Hold] = {}
        self._ended: list[_Hold] = []
        self._met: dict[tuple[int, Any], Statement] = {}
        self._fault: DatabaseError | None = None

    def __enter__(self) -> Self:
        if self._log is not None:
            self._log.begin()
        self._visitors = [_Visitor(self._url, mode) for mode in (READER, WRITER)]
        self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish()

    def trace(self) -> Trace:
        """Ends the look. DatabaseError when it could not be made: nothing seen would then mean nothing."""
        self._finish()
        if self._fault is not None:
            raise DatabaseError(f"the locks of the migration could not be watched: {self._fault.message}")
        statements = self._from_log() if self._log is not None else tuple(self._met.values())
        waits = {table: max(v.waits.get(table, 0.0) for v in self._visitors) for table in self._tables()}
        locks = (hold.as_lock(waits) for hold in [*self._ended, *self._holding.values()])
        return Trace(statements, longest(locks))

    def _from_log(self) -> tuple[Statement, ...]:
        assert self._log is not None
        return statements_in(self._log.end())

    def _tables(self) -> set[str]:
        return {hold.table for hold in [*self._ended, *self._holding.values()]}

    def _finish(self) -> None:
        self._end.set()
        if self._sampler.ident is not None:
            self._sampler.join(_END_S)
        for visitor in self._visitors:
            visitor.end()

    def _sample(self) -> None:
        try:
            with sql.connected(self._url, name="backstay watch") as connection:
                while not self._end.is_set():
                    self._look(connection)
                    self._end.wait(EVERY_S)
                self._look(connection)
        except DatabaseError as error:
            self._fault = error

    def _look(self, connection: Any) -> None:
        now = time.monotonic()
        seen = set()
        for pid, table, mode, rows, query in connection.execute(_LOCKS).fetchall():
            seen.add((pid, table, mode))
            hold = self._holding.setdefault((pid, table, mode), _Hold(table, mode, rows, query, now, now))
            hold.until = now
        for key in self._holding.keys() - seen:
            self._ended.append(self._holding.pop(key))
        for visitor in self._visitors:
            visitor.tables = tuple({table for _, table, _ in seen})
        if self._log is None:
            for pid, query, started in connection.execute(_DOING).fetchall():
                if is_schema_change(query):
                    self._met[pid, started] = Statement(query)


class _Hold:
    """A lock as far as it was seen: from the first look to the last, and one interval for what lay around them."""

    def __init__(
        self, table: str, mode: str, rows: int | None, query: str, since: float, until: float
    ) -> None:
        self.table, self.mode, self.query = table, mode, query
        self.rows = rows if rows is not None and rows >= 0 else None  # -1: nobody has counted yet
        self.since, self.until = since, until

    def as_lock(self, waits: dict[str, float]) -> Lock:
        held_s = self.until - self.since + EVERY_S
        return Lock(self.table, self.mode, held_s, self.query, self.rows, waits.get(self.table, 0.0))


class _Visitor:
    """Comes by as the application would, while tables are locked: as a reader or a writer, and touches nothing."""

    def __init__(self, url: Secret, mode: str) -> None:
        self._url = url
        self._mode = "ACCESS SHARE" if mode == READER else "ROW EXCLUSIVE"
        self.tables: tuple[str, ...] = ()
        self.waits: dict[str, float] = {}
        self._end = threading.Event()
        self._connection: Any = None
        self._thread = threading.Thread(target=self._visit, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._end.set()
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.cancel()
        self._thread.join(_END_S)

    def _visit(self) -> None:
        with (
            contextlib.suppress(DatabaseError),
            sql.connected(self._url, name="backstay visitor") as connection,
        ):
            self._connection = connection
            while not self._end.wait(EVERY_S):
                for table in self.tables:
                    with self._timed(table):
                        connection.execute(
                            f"BEGIN; LOCK TABLE {table} IN {self._mode} MODE; ROLLBACK".encode()
                        )

    @contextlib.contextmanager
    def _timed(self, table: str) -> Iterator[None]:
        """The time until the lock came, or until the end, or until the table was gone."""
        began = time.monotonic()
        try:
            yield
        except Exception as error:
            with contextlib.suppress(Exception):
                self._connection.execute("ROLLBACK")
            if not self._end.is_set() and self._connection.closed:
                raise DatabaseError("the visitor's connection broke") from error
        finally:
            self.waits[table] = max(self.waits.get(table, 0.0), time.monotonic() - began)
