"""SQL on a scratch server, over connections of our own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urlsplit

from backstay.domain.secret import Secret, redact
from backstay.domain.tables import Tables
from backstay.errors import DatabaseError

if TYPE_CHECKING:
    import psycopg

CONNECT_S: Final = 10

SUPERUSER: Final = "backstay_scratch"
"""Of the servers that are ours."""

UNLIMITED: Final = (
    "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0"
    " -c default_transaction_read_only=off"
)
"""Options of our own sessions: what a database or a role is limited to is meant for the application."""


def url_of(host: str, port: int, role: str, password: Secret, database: str) -> Secret:
    """The URL of a database; every part is quoted."""
    who = f"{quote(role, safe='')}:{quote(password.reveal(), safe='')}"
    where = f"[{host}]" if ":" in host else host
    return Secret(f"postgresql://{who}@{where}:{port}/{quote(database, safe='')}")


@contextmanager
def connected(
    url: Secret, deadline_s: float = CONNECT_S, name: str = "backstay"
) -> Iterator[psycopg.Connection[Any]]:
    """A connection in autocommit mode, whose application is called `name`. What goes wrong comes out as
    DatabaseError, without the password."""
    import psycopg

    hidden = [url, Secret(unquote(urlsplit(url.reveal()).password or ""))]
    try:
        with _signed_in(url, connect_timeout=max(2, int(deadline_s)), application_name=name) as connection:
            yield connection
    except psycopg.Error as error:
        said = redact(str(error).strip().partition("\n")[0], hidden)
        raise DatabaseError(f"the scratch server: {said or type(error).__name__}") from None


def _signed_in(url: Secret, **keys: Any) -> psycopg.Connection[Any]:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    keys |= {"autocommit": True, "client_encoding": "UTF8"}
    given = conninfo_to_dict(url.reveal())
    as_itself = " -c role=none" if given.get("user") == SUPERUSER else ""
    options = f"{UNLIMITED}{as_itself} {given.get('options') or ''}".strip()
    try:
        return psycopg.connect(url.reveal(), options=options, **keys)
    except psycopg.OperationalError as error:
        if "startup parameter" not in str(error):
            raise
        return psycopg.connect(url.reveal(), **keys)  # a pooler between, which lets no options through


def rows(url: Secret, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """What one question finds."""
    with connected(url) as connection:
        return connection.execute(statement.encode(), values or None).fetchall()


def act(url: Secret, *statements: str) -> None:
    """Statements that return nothing, each in a transaction of its own."""
    with connected(url) as connection:
        for each in statements:
            connection.execute(each.encode())


def shaped(like: Mapping[str, str] | None, template: str | None) -> str:
    """Encoding and collation of a new database, as words of CREATE DATABASE; a copy has those of its template."""
    if not like or template is not None:
        return ""
    collation, ctype = text(like["collation"]), text(like.get("ctype") or like["collation"])
    return f" ENCODING {text(like['encoding'])} LC_COLLATE {collation} LC_CTYPE {ctype}"


TABLES: Final = """
SELECT n.nspname || '.' || c.relname, a.attname,
  a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND c.relkind IN ('r', 'p')
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.oid = a.atttypid AND t.typdefault IS NOT NULL)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')"""
"""Columns, and whether an INSERT without the column is refused: no default, no identity, and no null allowed."""


def tables(url: Secret) -> Tables:
    """Tables and views of a database, each with its columns."""
    found: dict[str, dict[str, bool]] = {}
    for table, column, is_needed in rows(url, TABLES):
        columns = found.setdefault(table, {})
        if column is not None:
            columns[column] = bool(is_needed)
    return found


SUBSCRIBED: Final = (
    "SELECT 1 FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE datname = %s"
)
"""Whether a database has subscriptions, with which it cannot be dropped."""

SETTINGS: Final = """
SELECT r.rolname, split_part(line, '=', 1), substr(line, strpos(line, '=') + 1)
FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole,
  unnest(s.setconfig) AS line WHERE d.datname = %s"""
"""The settings of a database: of one role or (None) of all, name, value."""

LISTS: Final = frozenset(
    {"search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries"}
)
"""Settings that take a value in quotes for one word."""

KEPT: Final = "_kept"
SMALL_BYTES: Final = 256 << 20
"""A database up to this size is copied within a second or so."""


def keep_copy(maintenance: Secret, database: str) -> str:
    """Copy a small database under another name; "" when it is not small, or has subscriptions, with which it could not
    be dropped. `maintenance` names another database."""
    [(size,)] = rows(maintenance, "SELECT pg_database_size(%s)", (database,))
    if size > SMALL_BYTES or rows(maintenance, SUBSCRIBED, (database,)):
        return ""
    act(maintenance, f"CREATE DATABASE {name(database + KEPT)} TEMPLATE {name(database)}")
    for role, key, value in rows(maintenance, SETTINGS, (database,)):
        _give(maintenance, database + KEPT, role, key, value)
    return "template"


def _give(maintenance: Secret, database: str, role: str | None, key: str, value: str) -> None:
    """Give a database one setting, which a copy lacks; one that is refused is left out."""
    whose = (
        f"DATABASE {name(database)}" if role is None else f"ROLE {name(role)} IN DATABASE {name(database)}"
    )
    with suppress(DatabaseError), connected(maintenance) as connection, connection.transaction():
        if key in LISTS:
            connection.execute("SELECT set_config(%s, %s, false)", (key, value))
        given = "FROM CURRENT" if key in LISTS else f"TO {text(value)}"
        connection.execute(f"ALTER {whose} SET {name(key)} {given}".encode())


def put_back_copy(maintenance: Secret, database: str) -> bool:
    """Put the copy in the database's place; False when there is none."""
    kept = database + KEPT
    if not rows(maintenance, "SELECT 1 FROM pg_database WHERE datname = %s", (kept,)):
        return False
    act(
        maintenance,
        f"DROP DATABASE IF EXISTS {name(database)} WITH (FORCE)",
        f"ALTER DATABASE {name(kept)} RENAME TO {name(database)}",
    )
    return True


def name(word: str) -> str:
    """An identifier, quoted."""
    return '"' + word.replace('"', '""') + '"'


def text(word: str) -> str:
    """A string, quoted (standard_conforming_strings is on)."""
    return "'" + word.replace("'", "''") + "'"
