"""The lease row: taking it under the next token, and the fence that every write passes.

All functions run inside a write transaction of the caller. `now` is this moment by the store's clock and by this
machine's uptime.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Update, bindparam, insert, select, update

from backstay.adapters.store.codec import lease_from, lease_values, timestamp
from backstay.adapters.store.tables import leases
from backstay.domain.lease import LEASE_TIME_S, Keeper, Lease, Now, Owner, cure
from backstay.errors import LeaseLost, Locked

_LOCKED_ROW: Final = (
    select(leases)
    .where(leases.c.app == bindparam("of_app"), leases.c.environment == bindparam("in_env"))
    .with_for_update()
)


def take(
    connection: Connection,
    app: str,
    environment: str,
    owner: Owner,
    purpose: str,
    deployment: str | None,
    replaces: Lease | None,
    now: Now,
    lasts_s: float = LEASE_TIME_S,
) -> Lease:
    """Take a free lease, or the one `replaces` describes, under the next token, for `lasts_s` seconds.

    `replaces` is recognised by its token and owner; that its owner renewed it meanwhile does not matter, as
    the caller has already decided that this owner must go. A manual lock must be as it was seen: it was to go for
    its time alone, and that may have been extended. Raises Locked when anybody else holds the lease.
    """
    row = _row(connection, app, environment)
    held = lease_from(row) if row else None
    if held and (replaces is None or not _is_same(held, replaces)):
        raise locked(held)
    token = row["token"] + 1 if row else 1
    lease = Lease(
        app,
        environment,
        token,
        owner,
        purpose,
        deployment,
        now.wall,
        now.wall + lasts_s,
        lasts_s,
        0,
        now.uptime,
    )
    values = {
        "token": token,
        "deployment": deployment,
        "acquired_at": lease.acquired_at,
        **lease_values(lease),
    }
    if row:
        connection.execute(_update(app, environment).values(values))
    else:
        connection.execute(insert(leases).values(app=app, environment=environment, **values))
    return lease


def _is_same(held: Lease, seen: Lease) -> bool:
    return held == seen if held.is_manual else (held.token, held.owner) == (seen.token, seen.owner)


def adopt(connection: Connection, lease: Lease, owner: Owner, now: Now) -> Lease:
    """Give `lease` to `owner` under the same token, with its time begun anew.

    Raises LeaseLost when it has gone to anybody but `lease.owner` (or, when this is said twice, `owner`).
    """
    held = held_under(connection, lease.app, lease.environment, lease.token)
    if held.owner not in (lease.owner, owner):
        raise LeaseLost(
            f"the lease on {lease.environment} of {lease.app} was handed to {described(held.owner)} already",
            hint=f"`backstay status {lease.environment}` shows who acts now",
        )
    return _beaten(connection, replace(held, owner=owner), now)


def renew(connection: Connection, lease: Lease, now: Now) -> Lease:
    """Give a sign of life: it lasts from `now` again. Raises LeaseLost."""
    return _beaten(connection, held_under(connection, lease.app, lease.environment, lease.token), now)


def extend(connection: Connection, lease: Lease, purpose: str, now: Now, lasts_s: float) -> Lease:
    """Let a lease of a known time last `lasts_s` from `now`, for `purpose`. Raises LeaseLost."""
    held = held_under(connection, lease.app, lease.environment, lease.token)
    return _beaten(connection, replace(held, purpose=purpose, lasts_s=lasts_s), now)


def correct(connection: Connection, lease: Lease, now: Now) -> Lease | None:
    """Write down when it really ends, if a clock that was set has made its recorded end wrong; nothing else changes.

    The lease as it is held now, which may be somebody else's; None when it is free.
    """
    row = _row(connection, lease.app, lease.environment)
    held = lease_from(row) if row else None
    if held is None or not held.is_misdated(now):
        return held
    corrected = replace(held, expires_at=held.ends_at(now))
    connection.execute(_update(held.app, held.environment).values(expires_at=corrected.expires_at))
    return corrected


def free(connection: Connection, lease: Lease) -> None:
    """Free the lease and keep its token; nothing happens when the token is stale."""
    freed = {column.name: None for column in leases.c if column.nullable}
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


def _beaten(connection: Connection, held: Lease, now: Now) -> Lease:
    lease = replace(held, expires_at=now.wall + held.lasts_s, beat=held.beat + 1, heard=now.uptime)
    connection.execute(_update(held.app, held.environment).values(lease_values(lease)))
    return lease


def _row(connection: Connection, app: str, environment: str) -> dict[str, Any] | None:
    row = connection.execute(_LOCKED_ROW, {"of_app": app, "in_env": environment}).one_or_none()
    return row._asdict() if row else None


def _update(app: str, environment: str) -> Update:
    return update(leases).where(leases.c.app == app, leases.c.environment == environment)


def _time(epoch: float) -> str:
    return timestamp(datetime.fromtimestamp(epoch, UTC))
