"""The runbook of `backup restore`: a backup takes the place of the live database, and a release starts anew on it.

Until *hold* everything runs as before and the live database is only read. From *hold* to *open* nobody is served, so
nothing that people write can be lost, and any failure swaps back. *open* is the last act that matters.
"""

from __future__ import annotations

from backstay.errors import BackstayError, LeaseLost
from backstay.pipeline.deploy import (
    HEALTH,
    HOLD,
    OPEN,
    PUBLIC_SMOKE,
    PULL,
    QUIESCE,
    RESTORE,
    RETIRE,
    ROUTER,
    SMOKE,
    SNAPSHOT,
    STAGE,
    START,
    STEPS,
    SWAP,
    SWITCH,
)
from backstay.pipeline.outcome import fail, succeed
from backstay.pipeline.run import Run
from backstay.pipeline.saga import Saga


def restore(run: Run) -> None:
    """Swap the planned backup in. The outcome goes to the store. Raises LeaseLost."""
    saga = Saga(run, STEPS)
    try:
        saga.do(SNAPSHOT)
        saga.do(ROUTER)
        saga.do(PULL)
        saga.do(RESTORE)
        saga.do(HOLD)
        saga.do(QUIESCE)
        saga.do(SWAP)
        saga.do(START)
        saga.do(STAGE)
        saga.do(HEALTH)
        saga.do(SMOKE)
        saga.do(SWITCH)
        saga.do(PUBLIC_SMOKE)
        saga.do(OPEN)
    except LeaseLost:
        raise
    except BackstayError as error:
        fail(saga, error)
    else:
        saga.do_leniently(RETIRE)
        succeed(run)
