"""Make sure the router runs, is ours, and obeys this deployment's token."""

from __future__ import annotations

from typing import Any

from backstay.domain.step import StepRecord, Truth
from backstay.pipeline.run import Run


class RouterStep:
    name = "router"
    title = "make sure the router runs and listens"

    def do(self, run: Run) -> dict[str, Any]:
        environment = run.environment
        network = run.world.engine.network(
            environment.network, create=environment.owns_network, labels=run.labels()
        )
        binds = run.binds(network.gateway)
        run.world.router.ensure(binds, run.nonce, run.token)
        return {"gateway": network.gateway, "binds": [str(bind) for bind in binds]}

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.NOT_HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """A router that runs and serves as before is no harm; the network stays for the next attempt."""
