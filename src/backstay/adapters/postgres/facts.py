"""What a server says about itself and one database: enough to know later what a dump was made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from backstay.adapters.postgres.tools import find_tool, run
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
  'extensions', (SELECT coalesce(json_object_agg(extname, extversion ORDER BY extname), '{}') FROM pg_extension),
  'roles', (SELECT json_agg(rolname ORDER BY rolname) FROM pg_roles WHERE rolname !~ '^pg_'))
FROM pg_database WHERE datname = current_database()
"""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """`bytes` is the size on the server's disk, indexes and dead rows included; `extensions` name to version."""

    server_version: str
    server_major: int
    system_identifier: str | None
    database: str
    bytes: int
    encoding: str
    collation: str
    extensions: Mapping[str, str]
    roles: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


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
            **{**found, "roles": tuple(found["roles"] or ())},
        )
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise DatabaseError(
            "psql answered something else than it was asked", hint="is it a PostgreSQL server?"
        ) from error
