"""Make sure the router runs, is ours, and obeys this deployment's token."""

from __future__ import annotations

from typing import Any

from backstay.domain.slot import Slot
from backstay.domain.step import StepRecord, Truth
from backstay.pipeline.heal import heal
from backstay.pipeline.routes import known_gateway
from backstay.pipeline.run import Run
from backstay.pipeline.stranger import refuse_stranger


class RouterStep:
    """A router that is gone is started again, and what serves with it: going back must lead to something."""

    name = "router"
    title = "make sure the router runs and listens"

    def do(self, run: Run) -> dict[str, Any]:
        refuse_stranger(run)
        # Before the flip of a warm rollback not even the engine is asked, so that going back works, and works at once,
        # although the engine is ill.
        gateway = (known_gateway(run) if run.plan.is_warm else None) or self._gateway(run)
        binds = run.binds(gateway)
        run.world.router.ensure(binds, run.nonce, run.token)
        weights = run.world.router.state().weights
        healed = () if run.plan.is_warm else heal(run, whole=False).cured
        return {
            "gateway": gateway,
            "binds": [str(bind) for bind in binds],
            "weights": {slot.value: weights.get(slot, 0) for slot in Slot},
            "healed": [drift.what for drift in healed],
        }

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
