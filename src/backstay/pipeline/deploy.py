"""The runbook of `deploy`, top to bottom.

Until *switch* the old slot never stops serving, and a failure undoes what was started. After *switch* a failure
flips back first and cleans up second. Nothing after *bake* can turn a good deployment into a bad one.
"""

from __future__ import annotations

from backstay.domain.plan import wants_backup
from backstay.errors import BackstayError, LeaseLost
from backstay.pipeline.orphans import sweep
from backstay.pipeline.outcome import fail, succeed
from backstay.pipeline.run import Run
from backstay.pipeline.saga import Saga, Step
from backstay.pipeline.steps.backup import BackupStep
from backstay.pipeline.steps.bake import BakeStep
from backstay.pipeline.steps.check import CheckStep
from backstay.pipeline.steps.health import HealthStep
from backstay.pipeline.steps.migrate import MigrateStep
from backstay.pipeline.steps.pull import PullStep
from backstay.pipeline.steps.retire import RetireStep
from backstay.pipeline.steps.router import RouterStep
from backstay.pipeline.steps.smoke import PublicSmokeStep, SmokeStep
from backstay.pipeline.steps.snapshot import SnapshotStep
from backstay.pipeline.steps.start import StartStep
from backstay.pipeline.steps.switch import StageStep, SwitchStep

CHECK, SNAPSHOT, ROUTER, PULL = CheckStep(), SnapshotStep(), RouterStep(), PullStep()
BACKUP, MIGRATE = BackupStep(), MigrateStep()
START, STAGE, HEALTH, SMOKE, SWITCH = StartStep(), StageStep(), HealthStep(), SmokeStep(), SwitchStep()
PUBLIC_SMOKE, BAKE, RETIRE = PublicSmokeStep(), BakeStep(), RetireStep()

STEPS: tuple[Step, ...] = (
    CHECK, SNAPSHOT, ROUTER, PULL, BACKUP, MIGRATE, START, STAGE, HEALTH, SMOKE, SWITCH, PUBLIC_SMOKE, BAKE, RETIRE,
)  # fmt: skip


def deploy(run: Run) -> None:
    """Make the planned release live, or leave the environment as it was. The outcome goes to the store.

    Raises LeaseLost when somebody took the environment over; then nothing more may be done here.
    """
    saga = Saga(run, STEPS)
    try:
        sweep(run)
        saga.do(CHECK)
        saga.do(SNAPSHOT)
        saga.do(ROUTER)
        saga.do(PULL)
        if wants_backup(run.plan, run.environment):
            saga.do(BACKUP)
        if run.plan.migrating:
            saga.do(MIGRATE)
        saga.do(START)
        saga.do(STAGE)
        saga.do(HEALTH)
        saga.do(SMOKE)
        saga.do(SWITCH)
        saga.do(PUBLIC_SMOKE)
        saga.do(BAKE)
    except LeaseLost:
        raise
    except BackstayError as error:
        fail(saga, error)
    else:
        saga.do_leniently(RETIRE)
        succeed(run)
