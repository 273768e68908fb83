"""A session with a server for questions that need one transaction, which can be broken off from another thread."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from backstay.adapters.postgres.connection import QUERY_VARIABLES
from backstay.errors import DatabaseError

if TYPE_CHECKING:
    import psycopg

CONNECTION: Final = {
    **{key: variable for key, variable in QUERY_VARIABLES.items() if key != "options"},
    "dbname": "PGDATABASE",
}

PORTION: Final = 20_000
"""Rows that are fetched at a time where memory must not grow with their number."""


LIMITS: Final = {
    "statement_timeout": 0,
    "lock_timeout": 0,
    "idle_in_transaction_session_timeout": 0,
    "idle_session_timeout": 14,
    "transaction_timeout": 17,
}
"""Settings that end a session's work, and the major version of the server that brought them."""


def unlimited(major: int) -> str:
    """Options of a session on a server of this major version (0: any) that no limit ends, and that may write: what a
    role or a database is limited to is meant for the application, and our work has limits of its own."""
    limits = [name for name, since in LIMITS.items() if since <= major]
    return " ".join(f"-c {name}=0" for name in limits) + " -c default_transaction_read_only=off"


def _limits_since(major: int) -> list[str]:
    return [name for name, since in LIMITS.items() if 0 < since <= major]


class Session:
    """One connection. Every question raises DatabaseError when it fails, and after `break_off`."""

    def __init__(self, env: Mapping[str, str], database: str | None = None) -> None:
        import psycopg

        given = {key: env[variable] for key, variable in CONNECTION.items() if variable in env}
        if database is not None:
            given["dbname"] = database
        # Given even when empty, or libpq would take what this process's own environment says.
        options = env.get("PGOPTIONS", "")
        try:
            self._connection = self._signed_in(given, options)
        except psycopg.Error as error:
            raise DatabaseError(f"cannot sign in: {_words(error)}") from None

    def _signed_in(self, given: Mapping[str, str], options: str) -> psycopg.Connection[Any]:
        """Without the limits and the read-only mode that role, database or server set for their own work."""
        import psycopg

        # What comes here is read as UTF-8 and asked in it, whatever encoding the database has.
        keys: dict[str, Any] = {**given, "client_encoding": "UTF8", "autocommit": True}
        try:
            signed_in = psycopg.connect(**keys, options=f"{options} {unlimited(0)}".strip())
        except psycopg.OperationalError as error:
            if "startup parameter" not in str(error):
                raise
            # A pooler between, which lets none through; what is set later would stay for its other clients.
            return psycopg.connect(**keys, options=options)
        if later := _limits_since(signed_in.info.server_version // 10000):
            signed_in.execute("; ".join(f"SET {name} = 0" for name in later).encode())
        return signed_in

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
