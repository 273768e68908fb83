"""The swap of two databases, and what a database has beside its content: rights, settings, limit, comment."""

from __future__ import annotations

from typing import Final

from backstay.adapters.postgres import beside
from backstay.adapters.postgres.beside import quoted, text
from backstay.adapters.postgres.properties import granting, properties, setting
from backstay.adapters.postgres.session import Session
from backstay.domain.restore import Mark, mark_in
from backstay.ports.cluster import Written

LOCK_WAIT: Final = "10s"

_LIMIT: Final = "SELECT datconnlimit FROM pg_database WHERE datname = %s"


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
    [(limit,)] = working.rows(_LIMIT, (outgoing.name,))
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
    found = properties(asked, source)
    settings = (setting(target, *each) for each in found.settings)
    for statement in [
        *granting(target, found.grants),
        f"ALTER DATABASE {quoted(target)} RESET ALL",
        *settings,
    ]:
        asked.rows(statement)
