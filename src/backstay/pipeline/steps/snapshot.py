"""Remember the full state before anything is changed, so that people can see afterwards what was changed."""

from __future__ import annotations

from typing import Any

from backstay.domain.step import StepRecord, Truth
from backstay.pipeline.run import Run
from backstay.pipeline.snapshot import snapshot


class SnapshotStep:
    name = "snapshot"
    title = "record the state of the environment"

    def do(self, run: Run) -> dict[str, Any]:
        fingerprints = (run.world.store.snapshot(run.id) or {}).get("secrets", {})
        # A warm rollback has flipped already; what stood and served before is on record.
        weights = run.result("router").get("weights")
        taken = snapshot(run.world, run.environment, fingerprints, run.plan.before, weights)
        return {"snapshot": taken}

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.NOT_HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """Looking changes nothing."""
