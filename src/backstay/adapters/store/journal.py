"""Rows that only grow: releases, steps and events. All runs inside a write transaction of the caller.

A step is written twice, with an event each time, so its statements are built once: building one takes longer than
SQLite takes to run it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, insert, select, update

from backstay.adapters.store.codec import encode
from backstay.adapters.store.tables import events, releases, steps
from backstay.domain.release import Release
from backstay.domain.step import StepState

_NEXT_SEQ: Final = (
    select(func.coalesce(func.max(events.c.seq), 0) + 1)
    .where(events.c.deployment == bindparam("of"))
    .scalar_subquery()
)
_EVENT: Final = insert(events).values(
    deployment=bindparam("of"),
    seq=_NEXT_SEQ,
    at=bindparam("now"),
    kind=bindparam("what"),
    step=bindparam("in_step"),
    message=bindparam("told"),
    data=bindparam("json"),
)
_NEXT_POSITION: Final = (
    select(func.coalesce(func.max(steps.c.position), 0) + 1)
    .where(steps.c.deployment == bindparam("of"))
    .scalar_subquery()
)
_FIRST_STEP: Final = insert(steps).values(
    deployment=bindparam("of"),
    position=_NEXT_POSITION,
    name=bindparam("called"),
    state=bindparam("stands"),
    started_at=bindparam("began"),
    result=bindparam("json"),
    error=bindparam("fault"),
    took_s=bindparam("lasted"),
)
_STEP: Final = update(steps).where(steps.c.deployment == bindparam("of"), steps.c.name == bindparam("called"))


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
    values = {"of": deployment, "now": now, "what": kind, "in_step": step, "told": message}
    connection.execute(_EVENT, {**values, "json": encode(data or {})})


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
    here = {"of": deployment, "called": name}
    if connection.execute(_STEP.values(state=state.value, **changes), here).rowcount:
        return
    first = {"began": now, "json": given["result"] or encode({}), "fault": error, "lasted": took_s}
    connection.execute(_FIRST_STEP, {**here, "stands": state.value, **first})
