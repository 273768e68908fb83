"""The runbook of `deploy`, top to bottom.

Until *switch* the old slot never stops serving, and a failure undoes what was started. After *switch* a failure
flips back first and cleans up second. Nothing after *bake* can turn a good deployment into a bad one.

With `--maintenance`, a migration that the old release cannot live with runs behind held requests (*hold* to *open*):
until *open* a failure brings the database back with nothing lost, and from *open* on a person decides.
"""

from __future__ import annotations

from backstay.domain.plan import wants_backup, wants_hold, wants_verification
from backstay.errors import BackstayError, LeaseLost
from backstay.pipeline.orphans import sweep
from backstay.pipeline.outcome import fail, succeed
from backstay.pipeline.run import Run
from backstay.pipeline.saga import Saga, Step
from backstay.pipeline.steps.backup import BackupStep
from backstay.pipeline.steps.bake import BakeStep
from backstay.pipeline.steps.check import CheckStep
from backstay.pipeline.steps.copy import CopyStep
from backstay.pipeline.steps.health import HealthStep
from backstay.pipeline.steps.hold import HoldStep, OpenStep, let_through
from backstay.pipeline.steps.migrate import MigrateStep
from backstay.pipeline.steps.pull import PullStep
from backstay.pipeline.steps.quiesce import QuiesceStep
from backstay.pipeline.steps.rehearse import RehearseStep
from backstay.pipeline.steps.restore import RestoreStep
from backstay.pipeline.steps.retire import RetireStep
from backstay.pipeline.steps.router import RouterStep
from backstay.pipeline.steps.smoke import PublicSmokeStep, SmokeStep
from backstay.pipeline.steps.snapshot import SnapshotStep
from backstay.pipeline.steps.start import StartStep
from backstay.pipeline.steps.swap import SwapStep
from backstay.pipeline.steps.switch import StageStep, SwitchStep

CHECK, SNAPSHOT, ROUTER, PULL = CheckStep(), SnapshotStep(), RouterStep(), PullStep()
BACKUP, REHEARSE, MIGRATE = BackupStep(), RehearseStep(), MigrateStep()
START, STAGE, HEALTH, SMOKE, SWITCH = StartStep(), StageStep(), HealthStep(), SmokeStep(), SwitchStep()
PUBLIC_SMOKE, BAKE, RETIRE = PublicSmokeStep(), BakeStep(), RetireStep()
HOLD, QUIESCE, COPY, OPEN = HoldStep(), QuiesceStep(), CopyStep(), OpenStep()
RESTORE, SWAP = RestoreStep(), SwapStep()

STEPS: tuple[Step, ...] = (
    CHECK, SNAPSHOT, ROUTER, PULL, BACKUP, REHEARSE, RESTORE, HOLD, QUIESCE, COPY, MIGRATE, SWAP, START, STAGE, HEALTH,
    SMOKE, SWITCH, PUBLIC_SMOKE, OPEN, BAKE, RETIRE,
)  # fmt: skip
"""Every step there is, of any runbook: whoever takes a deployment back must know them all."""


def deploy(run: Run) -> None:
    """Make the planned release live, or leave the environment as it was. The outcome goes to the store.

    Raises LeaseLost when somebody took the environment over; then nothing more may be done here.
    """
    saga = Saga(run, STEPS)
    try:
        saga.do(CHECK)
        sweep(run)  # not before the engine is known to answer
        saga.do(SNAPSHOT)
        saga.do(ROUTER)
        saga.do(PULL)
        if wants_backup(run.plan, run.environment):
            saga.do(BACKUP)
        if wants_verification(run.plan, run.environment):
            saga.do(REHEARSE)
        if needs_hold(run):
            saga.do(HOLD)
            saga.do(QUIESCE)
            saga.do(COPY)
        if run.plan.migrating:
            saga.do(MIGRATE)
        saga.do(START)
        saga.do(STAGE)
        saga.do(HEALTH)
        saga.do(SMOKE)
        saga.do(SWITCH)
        saga.do(PUBLIC_SMOKE)
        if needs_hold(run):
            saga.do(OPEN)
        let_through(run)
        saga.do(BAKE)
    except LeaseLost:
        raise
    except BackstayError as error:
        fail(saga, error)
    else:
        saga.do_leniently(RETIRE)
        succeed(run)


def needs_hold(run: Run) -> bool:
    """Whether this one's migration runs behind held requests."""
    return wants_hold(run.plan, run.environment, run.result("rehearse").get("verdict"))
