"""What is in a database, asked in one snapshot: rows and checksums of every table, and the objects of the catalogue.

Only what a dump keeps is compared. Expressions (checks, views, policies) are not: the server words them anew when
they are restored (`IN` of a varchar column, for one), so their text is not the same afterwards though their meaning is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from backstay.adapters.postgres.objects import KINDS, LARGE_OBJECTS, SEQUENCES, TABLES
from backstay.adapters.postgres.session import Session
from backstay.domain.content import Content, TableContent
from backstay.errors import DatabaseError

SETTINGS: Final[Mapping[str, str]] = {
    "search_path": "",
    "row_security": "off",  # a role that may see only some rows fails, instead of counting those
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lc_monetary": "C",
    "xmlbinary": "base64",
    "quote_all_identifiers": "off",
    # One processor of the server at most.
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}
"""What the text of a row depends on, beside the row."""

OTHERS: Final = "(large objects)"
"""Stands among the tables: `rows` is their number."""


def begin(session: Session, deadline_s: float, lock_wait_s: float) -> None:
    """Begin the transaction whose snapshot everything is asked in."""
    session.rows("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    times = {"statement_timeout": f"{int(deadline_s * 1000)}", "lock_timeout": f"{int(lock_wait_s * 1000)}"}
    for name, value in {**SETTINGS, **times, "idle_in_transaction_session_timeout": "0"}.items():
        session.rows("SELECT set_config(%s, %s, true)", (name, value))


def take(
    session: Session,
    *,
    checksums: bool = True,
    unlogged: bool = True,
    told: Callable[[int, int], None] = lambda done, of: None,
) -> Content:
    """The content in the snapshot of `session`. Without `checksums` rows are only counted; `unlogged` False leaves out
    the tables that no physical copy keeps. `told` hears how many tables of how many are done."""
    major = int(session.value("SELECT current_setting('server_version_num')::int / 10000"))
    objects = {kind: tuple(row[0] for row in session.rows(query)) for kind, query in KINDS.items()}
    names = [name for name, logged in session.rows(TABLES) if logged or unlogged]
    tables: dict[str, TableContent] = {}
    for name in names:
        told(len(tables), len(names))
        tables[name] = _table(session, name, checksums, major)
    if (large := _large_objects(session, checksums, major)) is not None:
        tables[OTHERS] = large
    return Content(tables, objects, sequences(session))


def sequences(session: Session) -> dict[str, str | None]:
    """Where the sequences stand now: they know no snapshot."""
    query = "SELECT last_value || CASE WHEN is_called THEN '' ELSE ' (not used yet)' END FROM "
    return {name: session.value(query + name) for (name,) in session.rows(SEQUENCES)}


def _table(session: Session, name: str, checksums: bool, major: int) -> TableContent:
    row = '("backstay row".*)::text COLLATE "C"'
    return _counted(session, f'ONLY {name} AS "backstay row"', row, checksums, major)


def _large_objects(session: Session, checksums: bool, major: int) -> TableContent | None:
    if not session.value(LARGE_OBJECTS):
        return None
    try:
        session.rows("SAVEPOINT large")
        row = "oid::text || md5(lo_get(oid))"
        return _counted(session, "pg_catalog.pg_largeobject_metadata", row, checksums, major)
    except DatabaseError:  # one too large for a single value
        session.rows("ROLLBACK TO SAVEPOINT large")
        return _counted(session, "pg_catalog.pg_largeobject_metadata", "", False, major)


def _counted(session: Session, source: str, row: str, checksums: bool, major: int) -> TableContent:
    # The sum of bigints is exact: the server adds them up as 128 bit numbers.
    hashed = f"hashtextextended({row}, 0)" if major >= 11 else f"hashtext({row})::bigint"
    sum_ = f"coalesce(sum({hashed}), 0)::text" if checksums else "''"
    answer: tuple[Any, ...] = session.rows(f"SELECT count(*), {sum_} FROM {source}")[0]
    return TableContent(int(answer[0]), str(answer[1]))
