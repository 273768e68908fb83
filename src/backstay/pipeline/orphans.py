"""Clear away what dead deployments left. Everything is found by its label or its name, and nothing else is touched.

Each kind of thing has a sweeper; a new kind of thing that can be left behind gets one in `SWEEPERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from backstay.domain.orphans import Born, orphans
from backstay.errors import BackstayError, LeaseLost
from backstay.pipeline.rehearse import sweep as rehearsals
from backstay.pipeline.run import Run
from backstay.pipeline.steps.start import stop_and_remove
from backstay.ports.engine import Container

Sweeper = Callable[[Run], list[str]]
"""Removes what is left of one kind, under the lease of `run`; returns what it removed, in words for people."""


def sweep(run: Run) -> list[str]:
    """Run all sweepers; each removal becomes an event. One that fails is told, and keeps no other from its work."""
    removed: list[str] = []
    for sweeper in SWEEPERS:
        try:
            found = sweeper(run)
        except LeaseLost:
            raise
        except BackstayError as error:
            run.tell("sweep_failed", f"what dead deployments left was not cleared away: {error.message}")
            continue
        for what in found:
            run.tell("orphan_removed", what)
        removed += found
    return removed


def find_orphans(run: Run) -> list[Container]:
    """Containers of this environment that nobody owns any more. Only looks. Raises EngineError."""
    app, environment = run.environment.app, run.environment.name
    ours = run.world.engine.find({"backstay.app": app, "backstay.environment": environment})
    ended = {d.id: d.state.is_final for d in run.world.store.history(app, environment)}
    now = run.world.clock.now()
    born = [_born(container, now) for container in ours]
    current = None if run.deployment.state.is_final else run.id
    wanted = orphans(born, run.slots, ended, run.token, current)
    return [container for container in ours if container.id in wanted]


def _containers(run: Run) -> list[str]:
    left = find_orphans(run)
    stop_and_remove(run, left)
    return [f"container {container.name}" for container in left]


def _backups(run: Run) -> list[str]:
    if run.environment.database is None:
        return []
    return [f"unfinished backup {name}" for name in run.world.database.sweep(Path(run.environment.backups))]


def _files(run: Run) -> list[str]:
    return [f"file {path}" for path in run.world.leftovers.sweep()]


def _rehearsals(run: Run) -> list[str]:
    return rehearsals(run.world, run.environment.app, run.environment.name)


SWEEPERS: tuple[Sweeper, ...] = (_containers, _backups, _rehearsals, _files)


def _born(container: Container, now: datetime) -> Born:
    labels = container.labels
    token = labels.get("backstay.token", "")
    return Born(
        id=container.id,
        deployment=labels.get("backstay.deployment"),
        token=int(token) if token.isdecimal() else None,
        role=labels.get("backstay.role"),
        age_s=_age_s(container, now),
    )


def _age_s(container: Container, now: datetime) -> float | None:
    """Seconds since its start; None for one that was never started, of which engines write the year 1."""
    try:
        started = datetime.fromisoformat(container.started_at)
        return (now - started).total_seconds() if started.year > 1 else None
    except (ValueError, TypeError):
        return None
