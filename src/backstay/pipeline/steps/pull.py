"""Fetch the images of the components that start anew, by digest."""

from __future__ import annotations

from typing import Any

from backstay.domain.step import StepRecord, Truth
from backstay.pipeline.run import Run


class PullStep:
    name = "pull"
    title = "pull images"

    def do(self, run: Run) -> dict[str, Any]:
        images = {}
        for name in run.plan.new_components:
            component = run.release.components[name]
            images[name] = run.world.engine.pull(
                component.image, component.version, component.digest, run.login
            )
            run.tell("image_pulled", f"{component.reference}", step=self.name)
            run.heed()
        return {"images": images}

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.NOT_HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """A pulled image serves the next attempt; it stays."""
