"""What a server says about itself and one database: enough to know later what a dump was made of."""

from __future__ import annotations

import json
from collections.abc import Mapping

from backstay.adapters.postgres.tools import find_tool, run
from backstay.domain.server import ServerFacts
from backstay.errors import DatabaseError

# On some managed servers an ordinary role may not ask; then the second question is answered all the same.
IDENTIFIER = "SELECT system_identifier FROM pg_control_system()"
QUESTION = """
SELECT json_build_object(
  'server_version', current_setting('server_version'),
  'server_major', current_setting('server_version_num')::int / 10000,
  'database', datname,
  'bytes', pg_database_size(oid),
  'encoding', pg_encoding_to_char(encoding),
  'collation', datcollate,
  'ctype', datctype,
  'cluster_bytes', (SELECT CASE WHEN bool_and(allowed) THEN sum(CASE WHEN allowed THEN pg_database_size(other) END) END
    FROM (SELECT x.oid AS other, has_database_privilege(x.oid, 'CONNECT') AS allowed FROM pg_database x) y),
  'wal_lsn', CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
  'xid', txid_snapshot_xmax(txid_current_snapshot()),
  'in_recovery', pg_is_in_recovery(),
  'may_replicate', (SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user)
    AND current_setting('max_wal_senders')::int > 0,
  'is_superuser', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
  'wal_level', current_setting('wal_level'),
  'data_checksums', current_setting('data_checksums') = 'on',
  'tablespaces', (SELECT coalesce(json_agg(spcname ORDER BY spcname), '[]') FROM pg_tablespace
    WHERE spcname NOT IN ('pg_default', 'pg_global')),
  'data_directory', (SELECT setting FROM pg_settings WHERE name = 'data_directory'),
  'server_time', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
  'extensions', (SELECT coalesce(json_object_agg(extname, extversion ORDER BY extname), '{}') FROM pg_extension),
  'roles', (SELECT json_agg(rolname ORDER BY rolname) FROM pg_roles WHERE rolname !~ '^pg_'))
FROM pg_database WHERE datname = current_database()
"""


def ask_server(env: Mapping[str, str]) -> ServerFacts:
    """The facts of the database that `env` (see connection.environment) leads to. Raises DatabaseError."""
    argv = [find_tool("psql"), "-X", "-q", "-A", "-t", "--no-password"]
    answer = run([*argv, "-c", IDENTIFIER, "-c", " ".join(QUESTION.split())], env)
    return facts_of(answer)


def facts_of(answer: str) -> ServerFacts:
    """The facts in what psql printed: the identifier, when it may be asked, then one line of JSON."""
    lines = answer.strip().splitlines()
    try:
        found = json.loads(lines[-1])
        return ServerFacts(
            system_identifier=lines[0] if len(lines) > 1 else None,
            **{
                **found,
                "roles": tuple(found["roles"] or ()),
                "tablespaces": tuple(found.get("tablespaces", ())),
            },
        )
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise DatabaseError(
            "psql answered something else than it was asked", hint="is it a PostgreSQL server?"
        ) from error
