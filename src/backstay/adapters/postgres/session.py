"""A session with a server for questions that need one transaction, which can be broken off from another thread."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from backstay.errors import DatabaseError

CONNECTION: Final = {
    "host": "PGHOST",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "passfile": "PGPASSFILE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "application_name": "PGAPPNAME",
}

PORTION: Final = 20_000
"""Rows that are fetched at a time where memory must not grow with their number."""


class Session:
    """One connection. Every question raises DatabaseError when it fails, and after `break_off`."""

    def __init__(self, env: Mapping[str, str], database: str | None = None) -> None:
        import psycopg

        given = {key: env[variable] for key, variable in CONNECTION.items() if variable in env}
        if database is not None:
            given["dbname"] = database
        # Given even when empty, or libpq would take what this process's own environment says.
        given["options"] = env.get("PGOPTIONS", "")
        try:
            self._connection = psycopg.connect(**given, autocommit=True)  # type: ignore[arg-type]
        except psycopg.Error as error:
            raise DatabaseError(f"cannot sign in: {_words(error)}") from None

    def rows(self, query: str, values: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """All rows of a query with `%s` parameters; the query alone, with any `%` in it, when there are none."""
        import psycopg

        try:
            cursor = self._connection.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description is not None else []
        except psycopg.Error as error:
            raise DatabaseError(f"the database refused a question: {_words(error)}") from None

    def value(self, query: str, values: Sequence[Any] | None = None) -> Any:
        return self.rows(query, values)[0][0]

    def stream(self, query: str) -> Iterator[tuple[Any, ...]]:
        """The rows of a query one after the other, in portions from the server. Only within a transaction."""
        import psycopg

        try:
            with self._connection.cursor(name="backstay") as cursor:
                cursor.itersize = PORTION
                yield from cursor.execute(query.encode())
        except psycopg.Error as error:
            raise DatabaseError(f"the database refused a question: {_words(error)}") from None

    def break_off(self) -> None:
        """End it from any thread: who waits for an answer gets DatabaseError at once, even when the server hangs."""
        with contextlib.suppress(Exception), socket.socket(fileno=os.dup(self._connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._connection.close()


@contextmanager
def session(env: Mapping[str, str], deadline_s: float, database: str | None = None) -> Iterator[Session]:
    """A session that is broken off after `deadline_s` seconds, whatever the server does."""
    opened = Session(env, database)
    timer = threading.Timer(deadline_s, opened.break_off)
    timer.daemon = True
    timer.start()
    try:
        yield opened
    finally:
        timer.cancel()
        opened.close()


def _words(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
