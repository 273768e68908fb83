"""Remove what no slot refers to any more: the containers displaced from the slot, one-offs, own left-overs."""

from __future__ import annotations

from typing import Any

from backstay.domain.slot import unreferenced
from backstay.domain.step import StepRecord, Truth
from backstay.pipeline.run import Run

DEFAULT_GRACE_S = 10.0


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
        removed = []
        for id_ in unreferenced(ours, run.slots):
            run.world.engine.stop(id_, self._grace(run, ours[id_].labels.get("backstay.component", "")))
            run.world.engine.remove(id_)
            removed.append(ours[id_].name)
            run.tell("container_retired", ours[id_].name, step=self.name)
        return {"removed": sorted(removed)}

    def _grace(self, run: Run, component: str) -> float:
        known = run.release.components.get(component)
        return known.stop_grace_s if known else DEFAULT_GRACE_S

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.NOT_HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """What nobody refers to is not brought back."""
