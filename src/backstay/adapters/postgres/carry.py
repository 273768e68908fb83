"""The swap of two databases, and what a database has beside its content: rights, settings, limit, comment."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Final

from backstay.adapters.postgres import beside
from backstay.adapters.postgres.beside import quoted, text
from backstay.adapters.postgres.session import Session
from backstay.domain.restore import Mark, mark_in
from backstay.ports.cluster import Written

LOCK_WAIT: Final = "10s"

LISTS: Final = frozenset(
    {"local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries",
     "temp_tablespaces", "unix_socket_directories"}
)  # fmt: skip
"""Settings whose value is a list of quoted words (pg_dump, `variable_is_guc_list_quote`)."""

_SETTINGS: Final = """
SELECT coalesce(r.rolname, ''), split_part(line, '=', 1), substr(line, strpos(line, '=') + 1)
FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole,
  unnest(s.setconfig) AS line WHERE d.datname = %s ORDER BY 1, 2"""

_GRANTS: Final = """
SELECT coalesce(r.rolname, ''), g.privilege_type, g.is_grantable FROM pg_database d, aclexplode(d.datacl) g
LEFT JOIN pg_roles r ON r.oid = g.grantee WHERE d.datname = %s ORDER BY 1, 2"""

_LIMIT: Final = "SELECT datconnlimit, datacl IS NOT NULL FROM pg_database WHERE datname = %s"


def swap(working: Session, incoming: str, outgoing: Mark, writes: int | None) -> None:
    """The transaction of `ports.cluster.Cluster.swap`. A session that fails in it changes nothing."""
    live = outgoing.live
    was_dressed = beside.comment(working, live)
    working.rows("BEGIN")
    working.rows(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'")
    # From here on nobody can sign in to the live database until the end of this transaction.
    working.rows(f"ALTER DATABASE {quoted(live)} RENAME TO {quoted(outgoing.name)}")
    if writes is not None and (now := beside.writes(working, outgoing.name)) != writes:
        more = f"{now - writes} rows" if now is not None else "the server no longer counts them"
        raise Written(
            f"{live} was written to while the loss was counted ({more})",
            hint="end what writes to it beside the application",
        )
    working.rows(f"ALTER DATABASE {quoted(incoming)} RENAME TO {quoted(live)}")
    over(working, outgoing.name, live)
    # Not before: what restores needs several sessions.
    [(limit, _)] = working.rows(_LIMIT, (outgoing.name,))
    working.rows(f"ALTER DATABASE {quoted(live)} WITH CONNECTION LIMIT {int(limit)}")
    # A mark on the live one would make it a database beside itself.
    dress = "NULL" if mark_in(was_dressed) or was_dressed is None else text(was_dressed)
    working.rows(f"COMMENT ON DATABASE {quoted(live)} IS {dress}")
    working.rows(f"COMMENT ON DATABASE {quoted(outgoing.name)} IS {text(outgoing.as_comment())}")
    working.rows(f"ALTER DATABASE {quoted(live)} WITH ALLOW_CONNECTIONS true")
    working.rows(f"ALTER DATABASE {quoted(outgoing.name)} WITH ALLOW_CONNECTIONS false")
    working.rows("COMMIT")


def over(asked: Session, source: str, target: str) -> None:
    """Give `target` the rights and settings of `source`, and no others."""
    for statement in list(_statements(asked, source, target)):
        asked.rows(statement)


def _statements(asked: Session, source: str, target: str) -> Iterator[str]:
    _, has_grants = asked.rows(_LIMIT, (source,))[0]
    if has_grants:
        yield f"REVOKE ALL ON DATABASE {quoted(target)} FROM PUBLIC"
    for role, privilege, grantable in asked.rows(_GRANTS, (source,)):
        option = " WITH GRANT OPTION" if grantable else ""
        yield f"GRANT {privilege} ON DATABASE {quoted(target)} TO {quoted(role) if role else 'PUBLIC'}{option}"
    yield f"ALTER DATABASE {quoted(target)} RESET ALL"
    for role, key, value in asked.rows(_SETTINGS, (source,)):
        whose = f"ROLE {quoted(role)} IN DATABASE" if role else "DATABASE"
        yield f"ALTER {whose} {quoted(target)} SET {quoted(key)} TO {_value(key, value)}"


def _value(key: str, value: str) -> str:
    """A setting's value as SQL; the words of a list one by one."""
    if key not in LISTS:
        return text(value)
    words = next(csv.reader([value], skipinitialspace=True), [])
    return ", ".join(text(word.strip()) for word in words) or "''"
