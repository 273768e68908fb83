"""What is asked of the world before it is decided what becomes of a dead deployment. Only looks."""

from __future__ import annotations

from backstay.domain.deployment import DeploymentKind
from backstay.domain.recovery import Observed, Pulse, Side, Story, asks
from backstay.domain.slot import SlotMapping
from backstay.domain.step import StepState, Truth
from backstay.pipeline.probe import first_sick
from backstay.pipeline.run import Run
from backstay.pipeline.saga import Saga


def story_of(run: Run) -> Story:
    """What the journal of the deployment tells."""
    wish = run.world.store.wish(run.id)
    return Story.of(run.deployment.kind, run.world.store.steps(run.id), wish)


def observe(saga: Saga, story: Story) -> Observed:
    """The facts that decide. No more slots are asked than matter."""
    run = saga.run
    state = run.world.router.state()
    carries = state.weights.get(run.plan.target, 0) > 0 if state.running else None
    wanted = asks(story, carries)
    pulses = {side: pulse(run, side) if side in wanted else Pulse.UNASKED for side in Side}
    last = next(reversed(run.world.store.steps(run.id)), None)
    is_open = last is not None and last.state is StepState.STARTED
    truth = saga.truth(last) if last is not None and is_open else Truth.UNKNOWN
    return Observed(carries, pulses[Side.TARGET], pulses[Side.ORIGIN], truth, _opened(saga, story))


def _opened(saga: Saga, story: Story) -> bool | None:
    """Whether requests were let through after a hold; None when nobody tells."""
    if not story.opening:
        return False
    record = next(r for r in saga.run.world.store.steps(saga.run.id) if r.name == "open")
    if record.state is StepState.DONE:
        return True
    return {Truth.HAPPENED: True, Truth.NOT_HAPPENED: False}.get(saga.truth(record))


def pulse(run: Run, side: Side) -> Pulse:
    """Whether every component of that slot answers its health path now."""
    mapping = standing(run, side)
    if mapping is None:
        return Pulse.EMPTY
    release = run.release if mapping.release == run.release.id else run.world.store.release(mapping.release)
    if release is None:
        return Pulse.SILENT
    sick = first_sick(run.world.prober, mapping.placements, release.components)
    return Pulse.SILENT if sick else Pulse.ANSWERS


def standing(run: Run, side: Side) -> SlotMapping | None:
    """What stands in the slot that the deployment fills (None before it is staged), or in the one that served."""
    if side is Side.ORIGIN:
        return run.slots.mappings.get(run.plan.before.live) if run.plan.before.live else None
    mapping = run.slots.mappings.get(run.plan.target)
    if mapping is None or mapping.deployment == run.id:
        return mapping
    is_warm = run.deployment.kind is DeploymentKind.ROLLBACK and run.plan.is_warm
    return mapping if is_warm else None
