"""Rows that only grow: releases, steps and events. All runs inside a write transaction of the caller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, insert, select, update

from backstay.adapters.store.codec import encode
from backstay.adapters.store.tables import events, releases, steps
from backstay.domain.release import Release
from backstay.domain.step import StepState

# Made once: to build a statement takes longer than to run it.
_APPEND: Final = insert(events).values(
    seq=select(func.coalesce(func.max(events.c.seq), 0) + 1)
    .where(events.c.deployment == bindparam("of"))
    .scalar_subquery()
)
_CHANGE: Final = update(steps).where(
    steps.c.deployment == bindparam("of"), steps.c.name == bindparam("called")
)
_ADD: Final = insert(steps).values(
    position=select(func.coalesce(func.max(steps.c.position), 0) + 1)
    .where(steps.c.deployment == bindparam("of"))
    .scalar_subquery()
)


def keep_release(connection: Connection, release: Release, now: str) -> None:
    """Record a release once; the same content has the same id and is the same release."""
    if connection.execute(select(releases.c.id).where(releases.c.id == release.id)).first() is None:
        connection.execute(
            insert(releases).values(
                id=release.id,
                app=release.app,
                version=release.version,
                content=encode(release),
                recorded_at=now,
            )
        )


def append_event(
    connection: Connection,
    deployment: str,
    kind: str,
    message: str,
    now: str,
    *,
    step: str | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Append an event under the deployment's next number, without a gap."""
    connection.execute(
        _APPEND,
        {
            "deployment": deployment,
            "of": deployment,
            "at": now,
            "kind": kind,
            "step": step,
            "message": message,
            "data": encode(data or {}),
        },
    )


def write_step(
    connection: Connection,
    deployment: str,
    name: str,
    state: StepState,
    now: str,
    result: Mapping[str, Any] | None,
    error: str | None,
    took_s: float | None,
) -> None:
    """Write where a step stands. The first write of a name gives it the next position."""
    given = {"result": None if result is None else encode(result), "error": error, "took_s": took_s}
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if state is StepState.STARTED:
        changes = {"error": None, "took_s": None, "started_at": now, **changes}
    changes["state"] = state.value
    if connection.execute(_CHANGE, {"of": deployment, "called": name, **changes}).rowcount:
        return
    first = {"deployment": deployment, "name": name, "started_at": now, "result": encode({}), **changes}
    connection.execute(_ADD, {"of": deployment, **first})
