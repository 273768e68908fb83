"""Remove what no slot refers to any more: the containers displaced from the slot, one-offs, own left-overs; and stop
listening where only the release before was reached."""

from __future__ import annotations

from typing import Any

from backstay.domain.orphans import ON_THEIR_OWN
from backstay.domain.recovery import has_settled
from backstay.domain.slot import unreferenced
from backstay.domain.step import StepRecord, Truth
from backstay.errors import RouterError
from backstay.pipeline.binds import names
from backstay.pipeline.run import Run
from backstay.pipeline.steps.start import stop_and_remove


class RetireStep:
    name = "retire"
    title = "retire what nobody needs any more"

    def do(self, run: Run) -> dict[str, Any]:
        self._drop_binds(run)
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

    def _drop_binds(self, run: Run) -> None:
        """Nobody goes back to the earlier addresses once the release is proven. A router that does not answer keeps no
        container: `recover` sees it and has it listen as recorded."""
        if not has_settled(run.deployment.kind, run.world.store.steps(run.id)):
            return
        own = run.environment.binds(run.result("router").get("gateway"))
        seen = run.world.router.state().binds
        if seen is None or names(seen) == names(own):
            return
        try:
            run.world.router.ensure(own, run.nonce, run.token)
        except RouterError as error:
            run.tell("cleanup_failed", f"the earlier binds: {error.message}", step=self.name)
            return
        dropped = ", ".join(sorted(names(seen) - names(own)))
        run.tell("binds_dropped", f"the router listens no more on {dropped}", step=self.name)

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.NOT_HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """What nobody refers to is not brought back."""
