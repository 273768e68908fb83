"""How a deployment ends: the one place where an error becomes a state and an exit status."""

from __future__ import annotations

from typing import Any

from backstay.domain.deployment import DeploymentState
from backstay.domain.lease import Uptime
from backstay.domain.slot import Slot
from backstay.domain.step import StepState, Truth
from backstay.errors import Aborted, BackstayError, BackupFailed, CheckFailed, NeedsAttention
from backstay.pipeline.record import BEGUN
from backstay.pipeline.run import RolledBackByHand, Run, WorkerDied
from backstay.pipeline.saga import Saga
from backstay.pipeline.steps.hold import let_through
from backstay.pipeline.steps.retire import RetireStep
from backstay.pipeline.times import parse_rfc3339, rfc3339

FAILED_STATUS = 20
ATTENTION_STATUS = 21


def succeed(run: Run) -> None:
    """The release is live and proven."""
    restoration = run.plan.restoration
    how = f" on {restoration.backup}" if restoration else ""
    run.tell("deployment_succeeded", f"{run.release.version} is live in {run.environment.name}{how}")
    _end(run, DeploymentState.SUCCEEDED, 0)


def fail(saga: Saga, error: BackstayError) -> None:
    """Reverse what was started, then say what failed, why, and what state is left."""
    run = saga.run
    flipped = _had_switched(saga)
    failed_step = _failed_step(run)
    stuck = _reverse(saga, error)
    if stuck is not None:
        _end_stuck(saga, stuck, failed_step)
        return
    state = _reversed_state(error, flipped)
    where = "flipped back: " if flipped else ""
    run.tell("deployment_" + state.value, f"{where}{error.message}")
    _end(
        run,
        state,
        _status(run, error),
        error=error,
        failed_step=failed_step,
        rollback_s=_flip_back_s(run) if flipped else None,
        automatic=flipped and not isinstance(error, RolledBackByHand | WorkerDied | Aborted),
    )


def needs_attention(saga: Saga, error: BackstayError) -> None:
    """A rollback whose target is bad: go back to the slot that served, and call a person."""
    run = saga.run
    failed_step = _failed_step(run)
    stuck = _reverse(saga, error)
    if stuck is not None:
        _end_stuck(saga, stuck, failed_step)
        return
    if isinstance(error, Aborted):
        _end(run, DeploymentState.ABORTED, Aborted.exit_status, error=error, failed_step=failed_step)
        return
    wrapped = NeedsAttention(
        f"the rollback target {run.release.version} is not good: {error.message}",
        hint=error.hint or f"backstay status {run.environment.name}",
    )
    run.tell("attention_needed", f"{wrapped.message}; {_serves(run)}")
    _end(run, DeploymentState.NEEDS_ATTENTION, ATTENTION_STATUS, error=wrapped, failed_step=failed_step)


def stay(saga: Saga, why: str) -> None:
    """Neither forward nor back is proven good: move nothing, write down who has the traffic, and call a person."""
    run = saga.run
    error = NeedsAttention(
        why,
        hint=f"backstay status {run.environment.name} shows both slots; then deploy a version that you trust,"
        f" or backstay rollback {run.environment.name}",
    )
    _end_stuck(saga, error, _failed_step(run))


def _reverse(saga: Saga, error: BackstayError) -> NeedsAttention | None:
    """Undo everything; what keeps the traffic from going back, if anything does."""
    run = saga.run
    run.decided_at = run.decided_at or run.world.clock.monotonic()
    run.tell("reversal_started", error.message)
    return next((e for e in saga.reverse() if isinstance(e, NeedsAttention)), None)


def _end_stuck(saga: Saga, stuck: NeedsAttention, failed_step: str | None) -> None:
    """What has the traffic keeps it, and the records say so: else the next command would lead it to the other slot."""
    run = saga.run
    state = run.world.router.state()
    carrying = (
        next((slot for slot in Slot if state.weights.get(slot, 0) > 0), None) if state.running else None
    )
    slots = run.slots
    if carrying is not None and carrying is not slots.live and carrying in slots.mappings:
        run.save_slots(slots.switched(carrying))
    saga.do_leniently(RetireStep())
    run.tell("attention_needed", f"{stuck.message}; {_serves(run)}")
    _end(run, DeploymentState.NEEDS_ATTENTION, ATTENTION_STATUS, error=stuck, failed_step=failed_step)


def _serves(run: Run) -> str:
    serving = run.slots.serving
    return f"{serving.version} serves in {run.slots.live}" if serving else "nothing serves"


def _reversed_state(error: BackstayError, flipped: bool) -> DeploymentState:
    if isinstance(error, Aborted):
        return DeploymentState.ABORTED
    return DeploymentState.ROLLED_BACK if flipped else DeploymentState.FAILED


def _status(run: Run, error: BackstayError) -> int:
    """A failed check is 10, a failed backup 30, an abort 130; anything else 20, in a restore 30."""
    if isinstance(error, CheckFailed | BackupFailed | Aborted):
        return error.exit_status
    return BackupFailed.exit_status if run.plan.restoration else FAILED_STATUS


def _had_switched(saga: Saga) -> bool:
    """Whether traffic really moved: the journal says so, or a step that has only its intent there is asked."""
    for record in saga.run.world.store.steps(saga.run.id):
        if record.name == "switch":
            if record.state is StepState.STARTED:
                return saga.truth(record) is Truth.HAPPENED
            return record.error is None
    return False


def _failed_step(run: Run) -> str | None:
    steps = run.world.store.steps(run.id)
    return steps[-1].name if steps else None


def _flip_back_s(run: Run) -> float | None:
    """Seconds from the decision to reverse until the router confirmed the flip, as the flip's event carries it."""
    flips = [e for e in run.world.store.events(run.id) if "rollback_s" in e.data]
    return float(flips[-1].data["rollback_s"]) if flips else None


def _end(
    run: Run, state: DeploymentState, exit_status: int, error: BackstayError | None = None, **fields: Any
) -> None:
    flips = [e for e in run.world.store.events(run.id) if e.kind == "traffic_switched"]
    if state is not DeploymentState.NEEDS_ATTENTION:
        let_through(run)
    run.move(
        state,
        exit_status=exit_status,
        finished_at=rfc3339(run.world.clock.now()),
        reason=run.redact(error.message) if error else None,
        hint=error.hint if error else None,
        switch_s=flips[0].data["switch_s"] if flips else None,
        total_s=_took_s(run),
        backup=run.result("backup").get("backup"),
        **fields,
    )


def _took_s(run: Run) -> float:
    """Seconds since the deployment began; by the wall clock only after a reboot, or for one of an older Backstay."""
    begun = (run.world.store.snapshot(run.id) or {}).get(BEGUN)
    counted = run.world.clock.uptime().since(Uptime(**begun)) if begun else None
    if counted is not None:
        return counted
    return (run.world.clock.now() - parse_rfc3339(run.deployment.created_at)).total_seconds()
