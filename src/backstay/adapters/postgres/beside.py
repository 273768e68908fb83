"""SQL about the databases of a server: those that exist, ours among them, and how another one is made."""

from __future__ import annotations

from typing import Final

from backstay.adapters.postgres.session import Session
from backstay.domain.restore import mark_in
from backstay.errors import DatabaseError
from backstay.ports.cluster import Beside

BIG: Final = 256 << 20
"""From this size on a copy goes file by file: that costs two checkpoints, and spares writing it all into the WAL."""

_OURS: Final = """
SELECT datname, shobj_description(oid, 'pg_database'),
  CASE WHEN has_database_privilege(oid, 'CONNECT') THEN pg_database_size(oid) END
FROM pg_database WHERE shobj_description(oid, 'pg_database') LIKE '%"backstay"%'"""

_SHAPE: Final = """
SELECT r.rolname, pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, t.spcname,
  to_jsonb(d) ->> 'datlocprovider', coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'),
  to_jsonb(d) ->> 'daticurules'
FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba JOIN pg_tablespace t ON t.oid = d.dattablespace
WHERE d.datname = %s"""


def exists(asked: Session, database: str) -> bool:
    return bool(asked.rows("SELECT 1 FROM pg_database WHERE datname = %s", (database,)))


def comment(asked: Session, database: str) -> str | None:
    found = asked.rows(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", (database,)
    )
    return str(found[0][0]) if found and found[0][0] else None


def ours(asked: Session) -> list[Beside]:
    """Every database that carries a mark of ours."""
    found = [(name, mark_in(written), size) for name, written, size in asked.rows(_OURS)]
    return [Beside(name, mark, size) for name, mark, size in found if mark is not None]


def counts_writes(asked: Session, database: str) -> bool:
    """Whether the server counts what is written to a database, by whomever."""
    query = """
SELECT setting = 'on' AND NOT EXISTS (
  SELECT FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) AS line
  WHERE (s.setdatabase = 0 OR d.datname = %s) AND line ~* '^track_counts=(of|f|n|0)')
FROM pg_settings WHERE name = 'track_counts'"""
    return bool(asked.value(query, (database,)))


def writes(asked: Session, database: str) -> int | None:
    """Rows written since the statistics began; a session's own are counted at its end at the latest. None where the
    server does not count them."""
    query = "SELECT tup_inserted + tup_updated + tup_deleted FROM pg_stat_database WHERE datname = %s"
    found = asked.rows(query, (database,))
    if not found:
        raise gone(database)
    return int(found[0][0]) if counts_writes(asked, database) else None


def subscriptions(asked: Session, database: str) -> list[str]:
    """The subscriptions of logical replication that would keep a database from being dropped."""
    query = (
        "SELECT subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = %s"
    )
    return [str(name) for (name,) in asked.rows(query, (database,))]


def unsubscribe(inside: Session, subscription: str) -> None:
    """Drop a subscription from within its database. Its slot stays at the publisher: by now it may be another's."""
    name = quoted(subscription)
    inside.rows(f"ALTER SUBSCRIPTION {name} DISABLE")
    inside.rows(f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")
    inside.rows(f"DROP SUBSCRIPTION {name}")


def creation(asked: Session, like: str, name: str) -> str:
    """CREATE DATABASE for an empty one with owner, encoding, locale and tablespace of `like`."""
    found = asked.rows(_SHAPE, (like,))
    if not found:
        raise gone(like)
    owner, encoding, collate, ctype, tablespace, provider, locale, rules = found[0]
    words = [f"CREATE DATABASE {quoted(name)} TEMPLATE template0 OWNER {quoted(owner)}"]
    words += [f"ENCODING {text(encoding)} LC_COLLATE {text(collate)} LC_CTYPE {text(ctype)}"]
    if provider == "i":
        words.append(f"LOCALE_PROVIDER icu ICU_LOCALE {text(locale)}")
        words += [f"ICU_RULES {text(rules)}"] if rules else []
    elif provider == "b":
        words.append(f"LOCALE_PROVIDER builtin BUILTIN_LOCALE {text(locale)}")
    # Naming even the usual tablespace would need a right on it.
    words += [f"TABLESPACE {quoted(tablespace)}"] if tablespace != "pg_default" else []
    return " ".join(words)


def copying(asked: Session, live: str, name: str) -> str:
    """CREATE DATABASE for a copy of `live`."""
    found = asked.rows(
        "SELECT r.rolname, pg_database_size(d.oid), current_setting('server_version_num')::int FROM pg_database d"
        " JOIN pg_roles r ON r.oid = d.datdba WHERE d.datname = %s",
        (live,),
    )
    if not found:
        raise gone(live)
    owner, size, version = found[0]
    by_files = " STRATEGY FILE_COPY" if version >= 150000 and size > BIG else ""
    return f"CREATE DATABASE {quoted(name)} TEMPLATE {quoted(live)} OWNER {quoted(owner)}{by_files}"


def gone(database: str) -> DatabaseError:
    return DatabaseError(f"there is no database {database}", hint="look where the database URL leads to")


def quoted(word: str) -> str:
    """An identifier in SQL."""
    return '"' + word.replace('"', '""') + '"'


def text(word: str) -> str:
    """A string in SQL, whatever `standard_conforming_strings` says."""
    doubled = word.replace("'", "''")
    return f"E'{doubled.replace(chr(92), chr(92) * 2)}'" if "\\" in word else f"'{doubled}'"
