"""One look at a database with `psql`: can we sign in, and how many connections are left."""

from __future__ import annotations

import subprocess
from typing import Final

from backstay.adapters.postgres.connection import environment
from backstay.adapters.postgres.tools import find_tool
from backstay.domain.room import Connections, Reach
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError

# The role comes from the environment, not into the text: psql quotes it as a literal.
_ASK: Final = """\\getenv role BACKSTAY_ROLE
SELECT current_setting('server_version'), current_setting('max_connections'),
  current_setting('superuser_reserved_connections')::int
    + coalesce(current_setting('reserved_connections', true), '0')::int,
  (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()),
  (SELECT count(*) FROM pg_stat_activity WHERE usename = :'role' AND datname = current_database()
     AND pid <> pg_backend_pid()),
  (SELECT rolconnlimit FROM pg_roles WHERE rolname = :'role'),
  (SELECT datconnlimit FROM pg_database WHERE datname = current_database()),
  pg_database_size(current_database())
"""
_OLD: Final = '\\set role `printf %s "$BACKSTAY_ROLE"`\n'
"""For a psql before 14, which has no \\getenv; the shell only prints the variable."""

_HINTS: Final = (
    ("password authentication failed", "mend the password in the secret that database.backup_url_secret (or "
     "url_secret) names"),
    ("no pg_hba.conf entry", "allow this host, role and database in pg_hba.conf, then reload the server"),
    ("too many", "close idle sessions, or raise max_connections (or the limit of the role or database)"),
    ("remaining connection slots", "close idle sessions, or raise max_connections"),
    ("does not exist", "look at the role's and the database's name in the URL"),
    ("starting up", "wait until the server has started"),
    ("could not translate host name", "look at the host in the URL, and at this host's DNS"),
)  # fmt: skip
_REACH: Final = (
    "is the server up, and does it listen for this host (listen_addresses, pg_hba.conf, firewall)?"
)


def reach(url: Secret, role: str, deadline_s: float) -> Reach:
    """Implements `ports.database.Database.reach`."""
    with environment(url) as env:
        env["BACKSTAY_ROLE"] = role or env.get("PGUSER", "")
        env["PGCONNECT_TIMEOUT"] = str(max(2, int(deadline_s)))  # libpq takes 1 for 2
        argv = [find_tool("psql"), "-X", "-q", "-w", "-At", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-f", "-"]
        where = f"{env.get('PGHOST', 'the local socket')}:{env['PGPORT']}"
        try:
            done = subprocess.run(
                argv, env=env, input=_ASK, capture_output=True, text=True, timeout=deadline_s, check=False
            )
            if done.returncode != 0 and "getenv" in done.stderr:
                done = subprocess.run(
                    argv, env=env, input=_OLD + _ASK.partition("\n")[2], capture_output=True, text=True,
                    timeout=deadline_s, check=False,
                )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise DatabaseError(
                f"the database at {where} did not answer within {deadline_s:g} s", hint=_REACH
            ) from None
    if done.returncode != 0:
        raise _refused(done.stderr, where)
    return _parse(done.stdout)


def _parse(said: str) -> Reach:
    version, limit, reserved, used, mine, role_limit, database_limit, size = said.strip().split("\t")
    limits = [int(each) for each in (role_limit, database_limit) if each and int(each) >= 0]
    return Reach(
        version.partition(" ")[0],
        Connections(int(limit), int(reserved), int(used), int(mine), min(limits) if limits else None),
        int(size),
    )


def _refused(said: str, where: str) -> DatabaseError:
    lines = [line.strip() for line in said.strip().splitlines() if line.strip()]
    reason = (lines[0] if lines else "psql said nothing").removeprefix("psql: error: ")
    text = said.lower()
    hint = next((hint for words, hint in _HINTS if words in text), _REACH)
    return DatabaseError(f"cannot sign in to the database at {where}: {reason}", hint=hint)
