"""Finish or take back a deployment whose worker died, from its journal and the observed world.

It may die itself at any point and be repeated: what it decides from is written down or observable, and every undo can
run twice.
"""

from __future__ import annotations

from backstay.domain.deployment import DeploymentKind, DeploymentState, Wish
from backstay.domain.recovery import Course, Decision, Observed, Story, decide, is_lenient
from backstay.domain.step import StepRecord, StepState
from backstay.errors import (
    Aborted,
    BackstayError,
    BackupFailed,
    CheckFailed,
    LeaseLost,
    NeedsAttention,
    RouterError,
    StepFailed,
)
from backstay.pipeline.deploy import RETIRE, STEPS, SWITCH
from backstay.pipeline.observe import observe, story_of
from backstay.pipeline.left import STARTED, refuse_unreadable, tries
from backstay.pipeline.outcome import fail, needs_attention, stay, succeed
from backstay.pipeline.rollback import prove
from backstay.pipeline.run import RolledBackByHand, Run, WorkerDied
from backstay.pipeline.saga import Saga
from backstay.pipeline.steps.router import known_gateway
def recover(run: Run) -> None:
    """Bring a dead deployment to an end. Raises LeaseLost; NeedsAttention, with nothing changed, when its journal is
    not understood here."""
    refuse_unreadable(run.world.store, run.id)
    tried = tries(run.world.store, run.id)
    run.tell(STARTED, "the worker of this deployment died; deciding from its journal and from what is", tried=tried)
    if run.deployment.state is DeploymentState.PENDING:
        run.move(DeploymentState.RUNNING)
    saga = Saga(run, STEPS)
    run.decided_at = run.world.clock.monotonic()
    _have_router(run)
    story = story_of(run)
    seen = observe(saga, story)
    decision = decide(story, seen, tried)
    run.tell("recovery_decided", f"{decision.course}: {decision.why}", course=decision.course.value)
    if decision.course is Course.STAY:
        stay(run, decision.why)
    elif decision.course is Course.UNDO:
        _take_back(saga, story, seen, decision)
    else:
        _finish(saga, seen)


def _take_back(saga: Saga, story: Story, seen: Observed, decision: Decision) -> None:
    """Undo all of it. Traffic that no switch of ours sent to the slot goes back first: its containers will go."""
    if seen.carries and not story.switched:
        try:
            SWITCH.go_back(saga.run)
        except NeedsAttention as stuck:
            stay(saga.run, stuck.message)
            return
    error = _cause(saga.run, story, decision)
    (needs_attention if decision.calls_person else fail)(saga, error)


def _finish(saga: Saga, seen: Observed) -> None:
    """Go forward: a rollback is proven in public first; a deployment was, and only its end is missing."""
    run = saga.run
    if run.deployment.kind is DeploymentKind.ROLLBACK and not story_of(run).proven:
        prove(saga)
        return
    if not seen.carries:
        try:
            saga.do(SWITCH, heed=False)
        except LeaseLost:
            raise
        except BackstayError as error:
            stay(run, f"its release was proven, but the traffic cannot be moved to it: {error.message}")
            return
    saga.do_leniently(RETIRE)
    succeed(run)


def _have_router(run: Run) -> None:
    """The router, up and obeying us. One that cannot be had is a fact to decide from, not an error."""
    gateway = known_gateway(run)
    if gateway is None:
        return
    try:
        run.world.router.ensure(run.binds(gateway), run.nonce, run.token)
    except RouterError as error:
        run.tell("router_silent", error.message)


def _cause(run: Run, story: Story, decision: Decision) -> BackstayError:
    """Why the deployment ends: what its worker had met before it died, else that it died."""
    wish = run.world.store.wish(run.id)
    if story.stopped:
        return Aborted("aborted on request") if wish is Wish.ABORT else RolledBackByHand("rolled back by hand")
    met = _failure(run.world.store.steps(run.id))
    if met is not None:
        kind = {"check": CheckFailed, "backup": BackupFailed}.get(met.name, StepFailed)
        return kind(met.error or f"{met.name} failed", hint=f"backstay events {run.id}")
    again = "deploy again" if run.deployment.kind is DeploymentKind.DEPLOY else "roll back again"
    return WorkerDied(f"its worker died: {decision.why}", hint=f"look at backstay events {run.id}, then {again}")


def _failure(journal: list[StepRecord]) -> StepRecord | None:
    """The step whose failure began a reversal. Its record may say `undoing` by now; its error stays."""
    switched = next((r.position for r in journal if r.name == "switch"), None)
    for record in journal:
        if record.error and record.state is not StepState.DONE and not is_lenient(record, switched):
            return record
    return None
