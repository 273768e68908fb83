"""What a role must be allowed to do before anybody waits for it, and what people should know of a server."""

from __future__ import annotations

from typing import Final

from backstay.adapters.postgres.beside import counts_writes, gone
from backstay.adapters.postgres.session import Session
from backstay.errors import DatabaseError

KEY: Final = "database.admin_url_secret"

_ROLE: Final = """
SELECT current_user, o.rolname, me.rolsuper OR me.rolcreatedb,
  me.rolsuper OR pg_has_role(current_user, d.datdba, 'MEMBER'),
  (SELECT string_agg(DISTINCT r.rolname, ', ') FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
    WHERE a.datname = d.datname AND NOT me.rolsuper AND (r.rolsuper OR NOT (
      pg_has_role(current_user, r.oid, 'MEMBER') OR pg_has_role(current_user, 'pg_signal_backend', 'MEMBER')))),
  (SELECT count(*) FROM pg_prepared_xacts x WHERE x.database = d.datname),
  (SELECT string_agg(s.slot_name, ', ') FROM pg_replication_slots s WHERE s.database = d.datname),
  (SELECT string_agg(s.subname, ', ') FROM pg_subscription s WHERE s.subdbid = d.oid)
FROM pg_database d JOIN pg_roles o ON o.oid = d.datdba, pg_roles me
WHERE d.datname = %s AND me.rolname = current_user"""


def refuse_unfit(asked: Session, live: str) -> tuple[str, ...]:
    """`ports.cluster.Cluster.refuse_unfit`."""
    found = asked.rows(_ROLE, (live,))
    if not found:
        raise gone(live)
    me, owner, creates, owns, untouchable, prepared, slots, subscriptions = found[0]
    if not creates:
        raise DatabaseError(
            f"the role {me} may not make a database beside {live}",
            hint=f"ALTER ROLE {me} CREATEDB, or name the URL of a role that may in {KEY}",
        )
    if not owns:
        raise DatabaseError(
            f"the role {me} may not rename {live}, which belongs to {owner}",
            hint=f"GRANT {owner} TO {me}, or name the URL of a role that may in {KEY}",
        )
    if untouchable:
        raise DatabaseError(
            f"the role {me} may not end the sessions of {untouchable} on {live}",
            hint=f"end them, GRANT pg_signal_backend TO {me}, or name the URL of a superuser in {KEY}",
        )
    if prepared:
        raise DatabaseError(
            f"{live} has {prepared} prepared transactions, which keep it from being renamed or copied",
            hint="COMMIT PREPARED or ROLLBACK PREPARED them; pg_prepared_xacts names them",
        )
    notes = []
    if slots:
        notes.append(f"the logical replication slots {slots} stay with the database that is replaced")
    if subscriptions:
        notes.append(f"the subscriptions {subscriptions} stay with the database that is replaced")
    if not counts_writes(asked, live):
        notes.append(
            "track_counts is off, so the loss is counted while requests wait, and who writes beside the application"
            " after that is not noticed"
        )
    return tuple(notes)
