"""Stop what writes to the database: every container of both slots, and whoever else is signed in.

The old release is stopped, not paused: a worker of it that goes on would write into a database that is being changed,
and a frozen one would keep its locks. Going back starts the same containers again.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from backstay.domain.slot import Placement
from backstay.domain.step import StepRecord, Truth
from backstay.errors import DatabaseError, StepFailed
from backstay.pipeline.heal import answers, patience_s, revive
from backstay.pipeline.live import live_of
from backstay.pipeline.run import Run
from backstay.pipeline.steps.start import DEFAULT_GRACE_S


class QuiesceStep:
    name = "quiesce"
    title = "stop what writes to the database"

    def do(self, run: Run) -> dict[str, Any]:
        standing = _standing(run)
        with ThreadPoolExecutor(max_workers=max(1, len(standing))) as pool:
            for job in [pool.submit(_stop, run, *each) for each in standing]:
                job.result()
        live = live_of(run)
        try:
            live.tell_ended(live.cluster.end(live.name), self.name)
        except DatabaseError as error:
            raise StepFailed(error.message, hint=error.hint) from error
        return {"stopped": sorted(placement.name for placement, _ in standing)}

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.UNKNOWN

    def undo(self, run: Run, record: StepRecord) -> None:
        """Start the same containers again, and wait until those that served answer."""
        serving = run.plan.before.serving
        if serving is None:
            return
        started = revive(run, serving)
        if run.plan.before.standby is not None:
            revive(run, run.plan.before.standby)
        if not answers(run, serving, patience_s(run, serving, started=started)):
            raise StepFailed(
                f"{serving.version} does not answer after its restart",
                hint=f"backstay status {run.environment.name}",
            )
        run.tell("release_back", f"{serving.version} is up again", step=self.name)


def _standing(run: Run) -> list[tuple[Placement, float]]:
    """Every container that stood in a slot before, once, with its grace in seconds."""
    found: dict[str, tuple[Placement, float]] = {}
    for mapping in run.plan.before.mappings.values():
        release = run.world.store.release(mapping.release)
        for name, placement in mapping.placements.items():
            known = release.components.get(name) if release else None
            found[placement.container] = (placement, known.stop_grace_s if known else DEFAULT_GRACE_S)
    return list(found.values())


def _stop(run: Run, placement: Placement, grace_s: float) -> None:
    run.world.engine.stop(placement.container, grace_s)
    run.tell("container_stopped", placement.name, step=QuiesceStep.name)
