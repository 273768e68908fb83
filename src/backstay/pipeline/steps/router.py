"""Make sure the router runs, is ours, and obeys this deployment's token."""

from __future__ import annotations

from typing import Any

from backstay.domain.slot import Slot
from backstay.domain.step import StepRecord, Truth
from backstay.pipeline.run import Run
from backstay.pipeline.stranger import refuse_stranger


class RouterStep:
    name = "router"
    title = "make sure the router runs and listens"

    def do(self, run: Run) -> dict[str, Any]:
        refuse_stranger(run)
        gateway = self._known_gateway(run) or self._gateway(run)
        binds = run.binds(gateway)
        run.world.router.ensure(binds, run.nonce, run.token)
        weights = run.world.router.state().weights
        return {
            "gateway": gateway,
            "binds": [str(bind) for bind in binds],
            "weights": {slot.value: weights.get(slot, 0) for slot in Slot},
        }

    def _known_gateway(self, run: Run) -> str | None:
        """For a warm rollback, what the live deployment found: before the flip not even the engine is asked, so that
        going back works, and works at once, although the engine is ill."""
        serving = run.plan.before.serving
        if not run.plan.is_warm or serving is None:
            return None
        journal = run.world.store.steps(serving.deployment)
        found = [record.result.get("gateway") for record in journal if record.name == self.name]
        return found[-1] if found else None

    def _gateway(self, run: Run) -> str:
        environment = run.environment
        network = run.world.engine.network(
            environment.network, create=environment.owns_network, labels=run.labels()
        )
        return network.gateway

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.NOT_HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """A router that runs and serves as before is no harm; the network stays for the next attempt."""
