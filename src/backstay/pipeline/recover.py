"""Finish or take back a deployment whose worker died, from its journal and the observed world.

It may die itself at any point and be repeated: what it decides from is written down or observable, and every undo can
run twice.
"""

from __future__ import annotations

from backstay.domain.deployment import DeploymentKind, DeploymentState, Wish
from backstay.domain.recovery import (
    Course,
    Decision,
    Observed,
    Pulse,
    Side,
    Story,
    culprit,
    decide,
)
from backstay.domain.step import StepState
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
from backstay.pipeline.binds import known_gateways, listen, recorded_binds
from backstay.pipeline.deploy import BAKE, OPEN, PUBLIC_SMOKE, RETIRE, STEPS, SWITCH
from backstay.pipeline.heal import answers, patience_s, revive
from backstay.pipeline.left import STARTED, refuse_unreadable, tries
from backstay.pipeline.observe import observe, standing, story_of
from backstay.pipeline.outcome import fail, needs_attention, stay, succeed
from backstay.pipeline.rollback import prove
from backstay.pipeline.run import RolledBackByHand, Run, WorkerDied
from backstay.pipeline.saga import Saga

_OF_BACKUPS = frozenset({"backup", "rehearse", "copy", "restore", "swap"})
"""Steps whose failure ends as 30."""


def recover(run: Run) -> None:
    """Bring a dead deployment to an end. Raises LeaseLost; NeedsAttention, with nothing changed, when its journal is
    not understood here."""
    refuse_unreadable(run.world.store, run.id)
    tried = tries(run.world.store, run.id)
    run.tell(
        STARTED, "the worker of this deployment died; deciding from its journal and from what is", tried=tried
    )
    if run.deployment.state is DeploymentState.PENDING:
        run.move(DeploymentState.RUNNING)
    saga = Saga(run, STEPS)
    run.decided_at = run.world.clock.monotonic()
    _have_router(run)
    story = story_of(run)
    seen = observe(saga, story)
    if _revive(run, story, seen):
        seen = observe(saga, story)
    decision = decide(story, seen, tried)
    run.tell("recovery_decided", f"{decision.course}: {decision.why}", course=decision.course.value)
    if decision.course is Course.STAY:
        stay(saga, decision.why)
    elif decision.course is Course.UNDO:
        _take_back(saga, story, seen, decision)
    else:
        _finish(saga, seen)


def _revive(run: Run, story: Story, seen: Observed) -> bool:
    """Give a slot that matters and is silent what it needs and time to answer, as after a reboot of the host; whether
    one answers now. One that answers already is not kept waiting for the other."""
    wanted = [(Side.TARGET, seen.target), (Side.ORIGIN, seen.origin)]
    if not story.is_to_finish:
        wanted.reverse()
    for side, pulse in wanted:
        if pulse in (Pulse.ANSWERS, Pulse.UNASKED):
            return False
        mapping = standing(run, side)
        if mapping is not None and pulse is Pulse.SILENT:
            started = revive(run, mapping)
            if answers(run, mapping, patience_s(run, mapping, started=started)):
                return True
    return False


def _take_back(saga: Saga, story: Story, seen: Observed, decision: Decision) -> None:
    """Undo all of it. Traffic that no switch of ours sent to the slot goes back first: its containers will go."""
    if seen.carries and not story.switched:
        try:
            SWITCH.go_back(saga.run)
        except NeedsAttention as stuck:
            stay(saga, stuck.message)
            return
    if decision.calls_person and not story.blamed:
        _blame(saga.run, decision.why)
    error = _cause(saga.run, story, decision)
    (needs_attention if decision.calls_person else fail)(saga, error)


def _blame(run: Run, why: str) -> None:
    """Journal that the target is bad before anything is taken back for it: whoever comes next must know it, too."""
    run.world.store.step(run.token, run.id, PUBLIC_SMOKE.name, StepState.FAILED, error=why)


def _finish(saga: Saga, seen: Observed) -> None:
    """Go forward: a rollback is proven in public first; a deployment was, and only its end is missing, or, where it
    has changed the database for good, its watch."""
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
            stay(saga, f"its release was proven, but the traffic cannot be moved to it: {error.message}")
            return
    if not _open(saga):
        return
    story = story_of(run)
    if story.held and not story.proven:
        try:
            saga.do(BAKE)
        except LeaseLost:
            raise
        except BackstayError as error:
            fail(saga, error)
            return
    saga.do_leniently(RETIRE)
    succeed(run)


def _open(saga: Saga) -> bool:
    """Finish letting the requests through, where that was begun; False when it could not be, and a person is called."""
    if not any(
        r.name == OPEN.name and r.state is not StepState.DONE for r in saga.run.world.store.steps(saga.run.id)
    ):
        return True
    try:
        saga.do(OPEN, heed=False)
    except LeaseLost:
        raise
    except BackstayError as error:
        stay(saga, f"the requests cannot be let through: {error.message}")
        return False
    return True


def _have_router(run: Run) -> None:
    """The router, up and obeying us. One that cannot be had is a fact to decide from, not an error."""
    store, environment = run.world.store, run.environment
    known = known_gateways(store, environment.app, environment.name)
    binds = recorded_binds(store, environment.app, environment.name, known)
    if binds is None or known(environment) is None:
        return
    try:
        listen(run, binds)
    except RouterError as error:
        run.tell("router_silent", error.message)


def _cause(run: Run, story: Story, decision: Decision) -> BackstayError:
    """Why the deployment ends: what its worker had met before it died, else that it died."""
    wish = run.world.store.wish(run.id)
    if story.stopped:
        return (
            Aborted("aborted on request") if wish is Wish.ABORT else RolledBackByHand("rolled back by hand")
        )
    met = culprit(run.world.store.steps(run.id))
    if met is not None:
        kind = CheckFailed if met.name == "check" else BackupFailed if met.name in _OF_BACKUPS else StepFailed
        return kind(met.error or f"{met.name} failed", hint=f"backstay events {run.id}")
    again = "deploy again" if run.deployment.kind is DeploymentKind.DEPLOY else "roll back again"
    return WorkerDied(
        f"its worker died: {decision.why}", hint=f"look at backstay events {run.id}, then {again}"
    )
