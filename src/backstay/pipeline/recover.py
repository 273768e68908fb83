"""Finish or reverse a deployment whose worker died, from its journal and the observed world."""

from __future__ import annotations

from backstay.domain.recovery import Course, course
from backstay.pipeline.deploy import HOLD, OPEN, RETIRE, STEPS
from backstay.pipeline.live import has_begun
from backstay.pipeline.outcome import fail, succeed
from backstay.pipeline.run import Run, WorkerDied
from backstay.pipeline.saga import Saga


def recover(run: Run) -> None:
    """Bring a dead deployment to an end. May itself die anywhere and be repeated. Raises LeaseLost."""
    saga = Saga(run, STEPS)
    store = run.world.store
    gateway = run.result("router").get("gateway")
    if gateway is not None:
        run.world.router.ensure(run.binds(gateway), run.nonce, run.token)
    run.tell("recovery_started", "the worker of this deployment died; deciding from its journal")
    if course(run.deployment, store.steps(run.id)) is Course.FORWARD:
        if has_begun(run, HOLD.name) and run.world.router.state().held is not None:
            saga.do(OPEN)
        saga.do_leniently(RETIRE)
        succeed(run)
    else:
        fail(saga, WorkerDied("the worker died before the release was proven", hint="deploy again"))
