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
        record = run.world.store.snapshot(run.id) or {}
        return {"snapshot": snapshot(run.world, run.environment, record.get("secrets", {}))}

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.NOT_HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """Looking changes nothing."""
