"""Put the new slot behind the router, and send the traffic there in one command."""

from __future__ import annotations

from typing import Any

from backstay.domain.duration import format_duration
from backstay.domain.slot import Slot, SlotMapping
from backstay.domain.step import StepRecord, Truth
from backstay.errors import NeedsAttention
from backstay.pipeline.probe import ask_health
from backstay.pipeline.routes import routes_of
from backstay.pipeline.run import Run
from backstay.pipeline.steps.start import placements_of
from backstay.pipeline.times import rfc3339

UP_DEADLINE_S = 15.0


class StageStep:
    """The new slot's addresses enter the router; no traffic yet. What stood there before waits to be retired.

    This comes before the slot is healthy, so that the router's own checks find it up as soon as it is.
    """

    name = "stage"
    title = "put the new slot behind the router"

    def do(self, run: Run) -> dict[str, Any]:
        target = run.plan.target
        mapping = SlotMapping(
            release=run.release.id,
            version=run.release.version,
            placements=placements_of(run),
            deployment=run.id,
            since=rfc3339(run.world.clock.now()),
        )
        run.save_slots(run.slots.entered(target, mapping))
        run.world.router.load(routes_of(run, run.slots), run.token)
        return {"slot": target.value}

    def probe(self, run: Run, record: StepRecord) -> Truth:
        mapping = run.slots.mappings.get(run.plan.target)
        return Truth.HAPPENED if mapping and mapping.deployment == run.id else Truth.NOT_HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """Let what is still in flight end, then put back what stood in the slot."""
        target = run.plan.target
        if run.world.router.state().running:
            run.world.router.drain(target, run.environment.policy.drain_deadline_s, run.token)
        displaced = run.plan.before.mappings.get(target)
        now = run.slots
        back = now.entered(target, displaced) if displaced else now.emptied(target)
        run.save_slots(back)
        run.world.router.load(routes_of(run, back), run.token)


class SwitchStep:
    """Law 2: one command moves the traffic of all components."""

    name = "switch"
    title = "switch traffic to the new slot"

    def do(self, run: Run) -> dict[str, Any]:
        target = run.plan.target
        run.world.router.wait_up(target, UP_DEADLINE_S)
        switch_s = run.world.router.switch(target, run.token)
        run.save_slots(run.slots.switched(target))
        run.tell(
            "traffic_switched",
            f"{run.release.version} serves ({target}), switched in {format_duration(switch_s)}",
            step=self.name,
            slot=target.value,
            switch_s=switch_s,
        )
        return {"switch_s": switch_s}

    def probe(self, run: Run, record: StepRecord) -> Truth:
        state = run.world.router.state()
        if not state.running:
            return Truth.UNKNOWN
        weight = state.weights.get(run.plan.target, 0)
        return Truth.NOT_HAPPENED if weight == 0 else Truth.HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """Law 3: the old slot is still warm; going back is the same one command.

        Raises NeedsAttention, and leaves the traffic where it is, when the old slot does not answer.
        """
        old = run.plan.before.live
        if old is None:
            run.world.router.switch(run.plan.target.other, run.token)  # the empty slot: nothing served before
            run.save_slots(run.slots.switched(None))
            return
        sick = self._sick(run, old)
        if sick:
            raise NeedsAttention(
                f"the old slot is not healthy ({sick}), so traffic stays on {run.release.version}",
                hint=f"backstay status {run.environment.name}",
                state=f"{run.plan.target} serves",
            )
        switch_s = run.world.router.switch(old, run.token)
        decided = run.decided_at if run.decided_at is not None else run.world.clock.monotonic() - switch_s
        rollback_s = run.world.clock.monotonic() - decided
        run.save_slots(run.slots.switched(old))
        previous = run.plan.before.serving
        run.tell(
            "traffic_switched",
            f"{previous.version if previous else old} serves again ({old}), switched in {format_duration(switch_s)}",
            step=self.name,
            slot=old.value,
            switch_s=switch_s,
            rollback_s=rollback_s,
        )

    def _sick(self, run: Run, old: Slot) -> str | None:
        """The first component of the old slot that fails its health probe, with its answer; None when all pass."""
        mapping, previous = run.plan.before.mappings.get(old), run.plan.previous
        if mapping is None or previous is None:
            return None
        for name, placement in mapping.placements.items():
            answer = ask_health(run.world.prober, placement, previous.components[name].health)
            if not answer.is_healthy:
                return f"{name}: {answer.error or answer.status}"
        return None
