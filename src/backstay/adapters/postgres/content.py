"""What is in a database, asked in one snapshot: rows and checksums of every table, and the objects of the catalogue.

Only what a dump keeps is compared. Expressions (checks, views, policies) are not: the server words them anew when
they are restored (`IN` of a varchar column, for one), so their text is not the same afterwards though their meaning is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
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
    """The content in the snapshot of `session`. Without `checksums` rows are only counted; `unlogged` False takes the
    tables for empty that no physical copy keeps. `told` hears how many tables of how many are done."""
    major = int(session.value("SELECT current_setting('server_version_num')::int / 10000"))
    with letting_go(session):
        objects = {kind: tuple(row[0] for row in session.rows(query)) for kind, query in KINDS.items()}
        known = session.rows(TABLES)
    tables: dict[str, TableContent] = {}
    for name, logged, plain, row in known:
        told(len(tables), len(known))
        hashed = _hash(row, plain, major) if checksums else None
        source = f'ONLY {name} AS "backstay row"' + ("" if logged or unlogged else " WHERE false")
        with letting_go(session):
            tables[name] = _counted(session, source, hashed)
    if (large := _large_objects(session, checksums, major)) is not None:
        tables[OTHERS] = large
    return Content(tables, objects, sequences(session))


def sequences(session: Session) -> dict[str, str | None]:
    """Where the sequences stand now: they know no snapshot."""
    query = "SELECT last_value || CASE WHEN is_called THEN '' ELSE ' (not used yet)' END FROM "
    found = {}
    for (name,) in session.rows(SEQUENCES):
        with letting_go(session):
            found[name] = session.value(query + name)
    return found


@contextlib.contextmanager
def letting_go(session: Session) -> Iterator[None]:
    """Within a transaction: what the block reads is not kept locked after it; the snapshot stays. A database of many
    tables has more locks than the server has room for, and others would be refused theirs."""
    session.rows("SAVEPOINT reading")
    yield
    session.rows("ROLLBACK TO SAVEPOINT reading")
    session.rows("RELEASE SAVEPOINT reading")


def _hash(row: str, plain: bool, major: int) -> str:
    """The hash of one row. Its text costs half as much again as its values, of which not every type has a fit hash."""
    if plain and major >= 14:
        return f"hash_record_extended({row}, 0)"
    return _text_hash(f'({row})::text COLLATE "C"', major)


def _text_hash(text: str, major: int) -> str:
    return f"hashtextextended({text}, 0)" if major >= 11 else f"hashtext({text})::bigint"


def _large_objects(session: Session, checksums: bool, major: int) -> TableContent | None:
    if not session.value(LARGE_OBJECTS):
        return None
    source = "pg_catalog.pg_largeobject_metadata"
    try:
        session.rows("SAVEPOINT large")
        return _counted(
            session, source, _text_hash("oid::text || md5(lo_get(oid))", major) if checksums else None
        )
    except DatabaseError:  # one too large for a single value
        session.rows("ROLLBACK TO SAVEPOINT large")
        return _counted(session, source, None)


def _counted(session: Session, source: str, hashed: str | None) -> TableContent:
    # The sum of bigints is exact: the server adds them up as 128 bit numbers.
    sum_ = "''" if hashed is None else f"coalesce(sum({hashed}), 0)::text"
    answer: tuple[Any, ...] = session.rows(f"SELECT count(*), {sum_} FROM {source}")[0]
    return TableContent(int(answer[0]), str(answer[1]))
