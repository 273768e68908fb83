"""What sessions sent, from the server's own log: no application has to cooperate.

Schema changes are logged all, other statements when they took long; what a function does inside is not.
"""

from __future__ import annotations

import csv
import io
import re
import secrets
import time
from collections.abc import Iterable, Sequence
from typing import Final

from backstay.adapters.scratch import sql
from backstay.domain.rehearsal import Statement
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError

SLOW_MS: Final = 20
MOST_BYTES: Final = 32 << 20
WANTED: Final = {
    "log_statement": "ddl",
    "log_min_duration_statement": str(SLOW_MS),
    "log_min_messages": "warning",
    "log_min_error_statement": "error",
    "lc_messages": "C",
}
"""What is logged, and in which words it is read here."""

_OTHERS: Final = """
SELECT DISTINCT r.rolname FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) AS line
WHERE split_part(line, '=', 1) = ANY(%s)
  AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))"""
"""Roles with settings of their own, which go before those of the database."""

_MARK_S: Final = 5.0
_SESSION, _SEVERITY, _MESSAGE, _QUERY, _APPLICATION = 5, 11, 13, 19, 22
_COLUMNS: Final = 23
_TIMED: Final = re.compile(r"duration: ([0-9.]+) ms(?:  (?:statement|execute [^:]*): (.*))?", re.DOTALL)
_SENT: Final = re.compile(r"(?:statement|execute [^:]*): (.*)", re.DOTALL)


class ServerLog:
    """The log of one database from `begin` to `end`. The role must be a superuser."""

    def __init__(self, url: Secret) -> None:
        self._url = url
        self._from = 0

    def begin(self) -> None:
        """From now on new sessions in the database are logged."""
        with sql.connected(self._url) as connection:
            [(database,)] = connection.execute("SELECT current_database()").fetchall()
            others = connection.execute(_OTHERS, (list(WANTED),)).fetchall()
            for whose in ("", *(f"ROLE {sql.name(role)} IN " for (role,) in others)):
                for key, value in WANTED.items():
                    changed = f"ALTER {whose}DATABASE {sql.name(database)} SET {key} = {sql.text(value)}"
                    connection.execute(changed.encode())
            [(self._from,)] = connection.execute(
                "SELECT size FROM pg_stat_file(pg_current_logfile('csvlog'))"
            ).fetchall()

    def end(self) -> list[list[str]]:
        """The rows since `begin`. The log is written by another process: a mark of ours says when all is there."""
        mark = f"backstay mark {secrets.token_hex(8)}"
        with sql.connected(self._url) as connection:
            connection.execute(f"DO $$BEGIN RAISE LOG '{mark}'; END$$".encode())
            until = time.monotonic() + _MARK_S
            while True:
                [(found,)] = connection.execute(
                    "SELECT pg_read_binary_file(pg_current_logfile('csvlog'), %s, %s)",
                    (self._from, MOST_BYTES),
                ).fetchall()
                text = bytes(found).decode(errors="replace")
                if mark in text or len(found) == MOST_BYTES:
                    return rows_in(text)
                if time.monotonic() > until:
                    raise DatabaseError("the log of the scratch server does not show what was written to it")
                time.sleep(0.02)


def rows_in(text: str) -> list[list[str]]:
    """The whole rows of a piece of log."""
    whole = text[: text.rfind("\n") + 1]
    csv.field_size_limit(MOST_BYTES)
    return [row for row in csv.reader(io.StringIO(whole)) if len(row) >= _COLUMNS]


def statements_in(rows: Iterable[Sequence[str]]) -> tuple[Statement, ...]:
    """The statements of sessions that are not ours, in order, with their times and errors as far as the log has them.

    A schema change is logged when it begins; when it took long, its time comes in a row of its own.
    """
    found: list[Statement] = []
    last: dict[str, int] = {}
    for row in rows:
        session, message = row[_SESSION], row[_MESSAGE]
        if row[_APPLICATION].startswith("backstay") or not session:
            continue
        if row[_SEVERITY] == "ERROR" and row[_QUERY]:
            at = last.get(session)
            if at is not None and found[at].sql == row[_QUERY]:
                found[at] = Statement(row[_QUERY], found[at].took_s, message)
            else:
                found.append(Statement(row[_QUERY], None, message))
        elif timed := _TIMED.fullmatch(message):
            took_s = float(timed[1]) / 1000
            if timed[2] is not None:
                found.append(Statement(timed[2], took_s))
            elif session in last:
                found[last[session]] = Statement(found[last[session]].sql, took_s)
        elif sent := _SENT.fullmatch(message):
            last[session] = len(found)
            found.append(Statement(sent[1]))
    return tuple(found)
