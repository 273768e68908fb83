"""The lease row: taking it under the next token, and the fence that every write passes.

All functions run inside a write transaction of the caller.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Update, insert, select, update

from backstay.adapters.store.codec import encode, lease_from, timestamp
from backstay.adapters.store.tables import leases
from backstay.domain.lease import LEASE_TIME_S, Keeper, Lease, Owner, cure
from backstay.errors import LeaseLost, Locked


def take(
    connection: Connection,
    app: str,
    environment: str,
    owner: Owner,
    purpose: str,
    deployment: str | None,
    replaces: Lease | None,
    now: float,
    lasts_s: float = LEASE_TIME_S,
) -> Lease:
    """Take a free lease, or the one `replaces` describes, under the next token. `now` is epoch seconds.

    `replaces` is recognised by its token and owner; that its owner renewed it meanwhile does not matter, as
    the caller has already decided that this owner must go. A manual lock must be as it was seen: it was to go for
    its time alone, and that may have been extended. Raises Locked when anybody else holds the lease.
    """
    row = _row(connection, app, environment)
    held = lease_from(row) if row else None
    if held and (replaces is None or not _is_same(held, replaces)):
        raise locked(held)
    token = row["token"] + 1 if row else 1
    lease = Lease(app, environment, token, owner, purpose, deployment, now, now + lasts_s)
    values = {
        "token": token,
        "owner": encode(owner),
        "purpose": purpose,
        "deployment": deployment,
        "acquired_at": lease.acquired_at,
        "expires_at": lease.expires_at,
    }
    if row:
        connection.execute(_update(app, environment).values(values))
    else:
        connection.execute(insert(leases).values(app=app, environment=environment, **values))
    return lease


def _is_same(held: Lease, seen: Lease) -> bool:
    return held == seen if held.is_manual else (held.token, held.owner) == (seen.token, seen.owner)


def adopt(connection: Connection, lease: Lease, owner: Owner, now: float) -> Lease:
    """Give `lease` to `owner` under the same token, with its time begun anew.

    Raises LeaseLost when it has gone to anybody but `lease.owner` (or, when this is said twice, `owner`).
    """
    held = held_under(connection, lease.app, lease.environment, lease.token)
    if held.owner not in (lease.owner, owner):
        raise LeaseLost(
            f"the lease on {lease.environment} of {lease.app} was handed to {described(held.owner)} already",
            hint=f"`backstay status {lease.environment}` shows who acts now",
        )
    return _extended(connection, held, owner, now)


def renew(connection: Connection, lease: Lease, now: float) -> Lease:
    """Move the expiry to a lease time from `now`. Raises LeaseLost."""
    held = held_under(connection, lease.app, lease.environment, lease.token)
    return _extended(connection, held, held.owner, now)


def extend(connection: Connection, lease: Lease, purpose: str, now: float, lasts_s: float) -> Lease:
    """Let a lease of a known time last `lasts_s` from `now`, for `purpose`. Raises LeaseLost."""
    held = held_under(connection, lease.app, lease.environment, lease.token)
    extended = replace(held, purpose=purpose, expires_at=now + lasts_s)
    values = {"purpose": purpose, "expires_at": extended.expires_at}
    connection.execute(_update(held.app, held.environment).values(values))
    return extended


def free(connection: Connection, lease: Lease) -> None:
    """Free the lease and keep its token; nothing happens when the token is stale."""
    freed = {"owner": None, "purpose": None, "deployment": None, "acquired_at": None, "expires_at": None}
    statement = _update(lease.app, lease.environment).where(leases.c.token == lease.token)
    connection.execute(statement.values(freed))


def held_under(connection: Connection, app: str, environment: str, token: int) -> Lease:
    """The fence: the lease, if it is held under `token` right now. Raises LeaseLost otherwise.

    The row stays locked until the transaction ends, so nobody takes over between this look and the write.
    """
    row = _row(connection, app, environment)
    held = lease_from(row) if row else None
    if held and held.token == token:
        return held
    hint = f"stop acting on it; `backstay status {environment}` shows who does now"
    if held:
        raise LeaseLost(
            f"{environment} of {app} was taken over by {described(held.owner)}: it acts under token"
            f" {held.token}, this process had token {token}",
            hint=hint,
        )
    raise LeaseLost(f"the lease on {environment} of {app} with token {token} is no longer held", hint=hint)


def locked(held: Lease) -> Locked:
    """The error that says who holds an environment, what for, since when and until when."""
    work = f"{held.purpose} ({held.deployment})" if held.deployment else held.purpose
    renewed = "" if held.is_manual else " unless renewed"
    return Locked(
        f"{held.environment} of {held.app} is locked by {described(held.owner)} for {work}, since"
        f" {_time(held.acquired_at)}, until {_time(held.expires_at)}{renewed}",
        hint=cure(held),
        state="nothing was changed",
    )


def described(owner: Owner) -> str:
    """`anna@host pid 4711`; a person without the pid."""
    who = f"{owner.name}@{owner.host}"
    return who if owner.kind is Keeper.PERSON else f"{who} pid {owner.pid}"


def _extended(connection: Connection, held: Lease, owner: Owner, now: float) -> Lease:
    lease = replace(held, owner=owner, expires_at=now + LEASE_TIME_S)
    values = {"owner": encode(owner), "expires_at": lease.expires_at}
    connection.execute(_update(held.app, held.environment).values(values))
    return lease


def _row(connection: Connection, app: str, environment: str) -> dict[str, Any] | None:
    statement = select(leases).where(leases.c.app == app, leases.c.environment == environment)
    row = connection.execute(statement.with_for_update()).one_or_none()
    return row._asdict() if row else None


def _update(app: str, environment: str) -> Update:
    return update(leases).where(leases.c.app == app, leases.c.environment == environment)


def _time(epoch: float) -> str:
    return timestamp(datetime.fromtimestamp(epoch, UTC))
