"""The runbook of `rollback`: flip first when the other slot is warm, verify, then tidy up.

A rollback is asked for because the live release is bad, so when its target turns out bad too, nobody can say which
is better: the slot that served keeps serving and a person is called (21).
"""

from __future__ import annotations

from backstay.errors import BackstayError, LeaseLost
from backstay.pipeline.deploy import (
    HEALTH,
    PUBLIC_SMOKE,
    PULL,
    RETIRE,
    ROUTER,
    SMOKE,
    SNAPSHOT,
    STAGE,
    START,
    STEPS,
    SWITCH,
)
from backstay.pipeline.heal import answers, heal, revive
from backstay.pipeline.orphans import sweep
from backstay.pipeline.outcome import needs_attention, succeed
from backstay.pipeline.run import Run
from backstay.pipeline.saga import Saga


def rollback(run: Run) -> None:
    """Make the planned earlier release live again. The outcome goes to the store. Raises LeaseLost."""
    saga = Saga(run, STEPS)
    try:
        if run.plan.is_warm:
            _wake(run)
            saga.do(HEALTH)
        else:
            sweep(run)
            saga.do(SNAPSHOT)
        saga.do(ROUTER)
        if not run.plan.is_warm:
            saga.do(PULL)
            saga.do(START)
            saga.do(STAGE)
            saga.do(HEALTH)
            saga.do(SMOKE)
    except LeaseLost:
        raise
    except BackstayError as error:
        needs_attention(saga, error)
    else:
        prove(saga)


def _wake(run: Run) -> None:
    """Start what stopped in the warm slot. The engine is asked only about a slot that does not answer."""
    standby = run.slots.standby
    if standby is not None and not answers(run, standby):
        revive(run, standby)


def prove(saga: Saga) -> None:
    """Switch, prove the target in public, tidy up, end; also where an earlier worker had switched already."""
    run = saga.run
    try:
        saga.do(SWITCH)
        if run.plan.is_warm:
            saga.do_leniently(SNAPSHOT)
        saga.do(PUBLIC_SMOKE)
    except LeaseLost:
        raise
    except BackstayError as error:
        needs_attention(saga, error)
    else:
        heal(run)  # what was fled may have died of it; it is the way forward again
        saga.do_leniently(RETIRE)
        succeed(run)
