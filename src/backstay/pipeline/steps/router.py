"""Make sure the router runs, is ours, and obeys this deployment's token."""

from __future__ import annotations

from typing import Any

from backstay.domain.slot import Slot
from backstay.domain.step import StepRecord, Truth
from backstay.pipeline.binds import Binds, binds_before, known_gateways, listen, names
from backstay.pipeline.heal import heal
from backstay.pipeline.run import Run
from backstay.pipeline.stranger import refuse_stranger


class RouterStep:
    """A router that is gone is started again, and what serves with it: going back must lead to something.

    Where it listened before it goes on listening beside the new addresses, until *retire*.
    """

    name = "router"
    title = "make sure the router runs and listens"

    def do(self, run: Run) -> dict[str, Any]:
        refuse_stranger(run)
        # Before the flip of a warm rollback not even the engine is asked, so that going back works, and works at once,
        # although the engine is ill.
        gateway = (self._known_gateway(run) if run.plan.is_warm else None) or self._gateway(run)
        binds = Binds(run.environment.binds(gateway))
        if before := binds_before(run):
            binds = binds.beside((*before.own, *before.earlier))
        listens = listen(run, binds)
        weights = run.world.router.state().weights
        healed = () if run.plan.is_warm else heal(run, whole=False).cured
        return {
            "gateway": gateway,
            "binds": [str(bind) for bind in binds.own],
            "earlier": [str(bind) for bind in listens if bind not in binds.own],
            "weights": {slot.value: weights.get(slot, 0) for slot in Slot},
            "healed": [drift.what for drift in healed],
        }

    def _gateway(self, run: Run) -> str:
        environment = run.environment
        network = run.world.engine.network(
            environment.network, create=environment.owns_network, labels=run.labels()
        )
        return network.gateway

    def _known_gateway(self, run: Run) -> str | None:
        environment = run.environment
        return known_gateways(run.world.store, environment.app, environment.name)(environment)

    def probe(self, run: Run, record: StepRecord) -> Truth:
        before = binds_before(run)
        return Truth.UNKNOWN if before and self._listens_elsewhere(run, before) else Truth.NOT_HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """Listen where it listened before, and nowhere else. Otherwise a router that runs and serves as before is no
        harm; the network stays for the next attempt."""
        before = binds_before(run)
        if before and self._listens_elsewhere(run, before):
            listen(run, before)

    def _listens_elsewhere(self, run: Run, before: Binds) -> bool:
        """Whether the router listens anywhere but where it did before; where nobody tells, whether it was to."""
        seen = run.world.router.state().binds
        if seen is not None:
            return names(seen) != before.names
        return not names(run.environment.binds(self._known_gateway(run))) <= before.names
