"""What leads out of a copied database: foreign servers, subscriptions, and what of it cannot be cut.

A copy brings the passwords of its user mappings and subscriptions along. Whoever works on it would write to servers
that are no copies.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from backstay.adapters.scratch import sql
from backstay.domain.secret import Secret

if TYPE_CHECKING:
    import psycopg

NOWHERE: Final = {"host": "127.0.0.1", "port": "1"}
"""Nobody listens there, so that it is refused at once."""

_ASTRAY: Final = ("hostaddr", "service")
"""Options of libpq that lead past `host`."""

_MAPPINGS: Final = "SELECT srvname, CASE umuser WHEN 0 THEN NULL ELSE usename END FROM pg_user_mappings"

_SERVERS: Final = """
SELECT s.srvname, s.srvoptions FROM pg_foreign_server s
JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw JOIN pg_proc p ON p.oid = w.fdwvalidator
WHERE p.proname IN ('postgres_fdw_validator', 'dblink_fdw_validator', 'postgresql_fdw_validator')"""

_PROGRAMS: Final = """
SELECT n.nspname, c.relname FROM pg_foreign_table t JOIN pg_class c ON c.oid = t.ftrelid
JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_foreign_server s ON s.oid = t.ftserver
JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw JOIN pg_proc p ON p.oid = w.fdwhandler
WHERE p.proname = 'file_fdw_handler' AND EXISTS (SELECT FROM unnest(t.ftoptions) o WHERE o LIKE 'program=%')"""

_SUBSCRIPTIONS: Final = """
SELECT subname FROM pg_subscription
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())"""

_PREPARED: Final = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"

_LEFT: Final = """
SELECT 'extension ' || extname FROM pg_extension WHERE extname IN ('dblink', 'http', 'amqp')
UNION ALL SELECT 'foreign data wrapper ' || w.fdwname FROM pg_foreign_data_wrapper w
  JOIN pg_proc p ON p.oid = w.fdwhandler WHERE p.proname NOT IN ('postgres_fdw_handler', 'file_fdw_handler')
UNION ALL SELECT 'language ' || lanname FROM pg_language WHERE NOT lanpltrusted AND lanname NOT IN ('internal', 'c')
ORDER BY 1"""

_MAY: Final = """
WITH me AS (SELECT oid, rolsuper FROM pg_roles WHERE rolname = %s)
SELECT 'a role that is a superuser (COPY … TO PROGRAM, extensions)' FROM me WHERE rolsuper
UNION ALL SELECT 'a role that is a member of ' || r.rolname FROM me JOIN pg_roles r
  ON r.rolname IN ('pg_execute_server_program', 'pg_create_subscription') AND pg_has_role(me.oid, r.oid, 'MEMBER')
  WHERE NOT me.rolsuper
UNION ALL SELECT 'a role that may make servers of ' || w.fdwname FROM me JOIN pg_foreign_data_wrapper w
  ON w.fdwhandler <> 0 AND has_foreign_data_wrapper_privilege(me.oid, w.oid, 'USAGE') WHERE NOT me.rolsuper
UNION ALL SELECT 'a role that owns foreign server ' || s.srvname FROM me JOIN pg_foreign_server s
  ON pg_has_role(me.oid, s.srvowner, 'MEMBER') WHERE NOT me.rolsuper
ORDER BY 1"""
"""What a role may do to reach a server whose address it knows, or to run a program."""


def cut_off(url: Secret, role: str | None) -> tuple[str, ...]:
    """Cut what leads out of the database of `url`, and say what of it stays open to `role` (None: a superuser).

    Foreign servers and subscriptions lead nowhere, and have no passwords. Prepared transactions, which nobody would
    ever end here, are rolled back.
    """
    import psycopg

    uncut = []
    with sql.connected(url) as connection:
        for what, statement in list(_statements(connection)):
            try:
                connection.execute(statement.encode())
            except psycopg.Error as error:
                uncut.append(f"{what} ({str(error).strip().partition(chr(10))[0]})")
        left = [str(name) for (name,) in connection.execute(_LEFT).fetchall()]
        signed_in = connection.info.user if role is None else role
        left += [str(right) for (right,) in connection.execute(_MAY, (signed_in,)).fetchall()]
    return (*uncut, *left)


def unsubscribe(url: Secret) -> None:
    """Drop the subscriptions of a database, without a word to their publishers."""
    for (each,) in sql.rows(url, _SUBSCRIPTIONS):
        changed = f"ALTER SUBSCRIPTION {sql.name(each)}"
        sql.act(
            url,
            f"{changed} DISABLE",
            f"{changed} SET (slot_name = NONE)",
            f"DROP SUBSCRIPTION {sql.name(each)}",
        )


def _statements(connection: psycopg.Connection[Any]) -> Iterator[tuple[str, str]]:
    """What cuts each of them, with its name for people."""
    for server, role in connection.execute(_MAPPINGS).fetchall():
        who = "PUBLIC" if role is None else sql.name(role)
        yield f"user mapping of {server}", f"DROP USER MAPPING IF EXISTS FOR {who} SERVER {sql.name(server)}"
    for server, options in connection.execute(_SERVERS).fetchall():
        yield f"foreign server {server}", f"ALTER SERVER {sql.name(server)} OPTIONS ({_led_astray(options)})"
    for schema, table in connection.execute(_PROGRAMS).fetchall():
        named = f"{sql.name(schema)}.{sql.name(table)}"
        options = "DROP program, ADD filename '/dev/null'"
        yield f"foreign table {schema}.{table}", f"ALTER FOREIGN TABLE {named} OPTIONS ({options})"
    for (each,) in connection.execute(_SUBSCRIPTIONS).fetchall():
        changed, nowhere = f"ALTER SUBSCRIPTION {sql.name(each)}", " ".join(map("=".join, NOWHERE.items()))
        # Without a slot it can be dropped here, which would drop the publisher's slot too.
        yield f"subscription {each}", f"{changed} DISABLE"
        yield f"subscription {each}", f"{changed} SET (slot_name = NONE)"
        yield f"subscription {each}", f"{changed} CONNECTION {sql.text(nowhere + ' password=none')}"
    for (gid,) in connection.execute(_PREPARED).fetchall():
        yield f"prepared transaction {gid}", f"ROLLBACK PREPARED {sql.text(gid)}"


def _led_astray(options: list[str] | None) -> str:
    """Changes of a foreign server's options after which it leads nowhere."""
    there = {option.partition("=")[0] for option in options or ()}
    changes = [
        f"{'SET' if key in there else 'ADD'} {key} {sql.text(value)}" for key, value in NOWHERE.items()
    ]
    return ", ".join([*changes, *(f"DROP {key}" for key in _ASTRAY if key in there)])
