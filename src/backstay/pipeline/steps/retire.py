"""Remove what no slot refers to any more: the containers displaced from the slot, one-offs, own left-overs."""

from __future__ import annotations

from typing import Any

from backstay.domain.orphans import ON_THEIR_OWN
from backstay.domain.slot import unreferenced
from backstay.domain.step import StepRecord, Truth
from backstay.pipeline.run import Run
from backstay.pipeline.steps.start import stop_and_remove


class RetireStep:
    name = "retire"
    title = "retire what nobody needs any more"

    def do(self, run: Run) -> dict[str, Any]:
        ours = {
            c.id: c
            for c in run.world.engine.find(
                {"backstay.app": run.environment.app, "backstay.environment": run.environment.name}
            )
        }
        displaced = [
            ours[id_]
            for id_ in unreferenced(ours, run.slots)
            if ours[id_].labels.get("backstay.role") not in ON_THEIR_OWN
        ]
        stop_and_remove(run, displaced)
        for container in displaced:
            run.tell("container_retired", container.name, step=self.name)
        return {"removed": sorted(container.name for container in displaced)}

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.NOT_HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """What nobody refers to is not brought back."""
