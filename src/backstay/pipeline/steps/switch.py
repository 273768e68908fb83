"""Put the new slot behind the router, and send the traffic there in one command."""

from __future__ import annotations

from typing import Any

from backstay.domain.duration import format_duration
from backstay.domain.slot import Slot, SlotMapping
from backstay.domain.step import StepRecord, Truth
from backstay.errors import NeedsAttention, RouterError
from backstay.pipeline.probe import first_sick
from backstay.pipeline.routes import routes_of
from backstay.pipeline.run import Run
from backstay.pipeline.steps.start import placements_of
from backstay.pipeline.times import rfc3339

UP_DEADLINE_S = 15.0
REVIVAL_S = 8.0
REVIVAL_POLL_S = 1.0


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
        # Websockets outlive a switch: what stood here before may still have some, and keeps them.
        earlier = run.world.router.state().in_flight.get(target, 0)
        run.save_slots(run.slots.entered(target, mapping))
        run.world.router.load(routes_of(run, run.slots), run.token)
        return {"slot": target.value, "earlier": earlier}

    def probe(self, run: Run, record: StepRecord) -> Truth:
        mapping = run.slots.mappings.get(run.plan.target)
        return Truth.HAPPENED if mapping and mapping.deployment == run.id else Truth.NOT_HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """Let what is still in flight end, then put back what stood in the slot."""
        target = run.plan.target
        self._drain(run, int(record.result.get("earlier", 0)))
        displaced = run.plan.before.mappings.get(target)
        now = run.slots
        back = now.entered(target, displaced) if displaced else now.emptied(target)
        run.save_slots(back)
        run.world.router.load(routes_of(run, back), run.token)

    def _drain(self, run: Run, earlier: int) -> None:
        """Nothing came to a slot that was never switched to. A router that does not answer has nothing in flight that
        could be waited for."""
        switched = any(record.name == SwitchStep.name for record in run.world.store.steps(run.id))
        try:
            if switched and run.world.router.state().running:
                deadline_s = run.environment.policy.drain_deadline_s
                run.world.router.drain(run.plan.target, deadline_s, run.token, earlier)
        except RouterError as error:
            run.tell("router_silent", error.message, step=self.name)


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
        """PARTLY: what the router does, what it would do after a restart, and what is recorded as live, differ."""
        state = run.world.router.state()
        if not state.running:
            return Truth.UNKNOWN
        target = run.plan.target
        found = {
            state.weights.get(target, 0) > 0,
            state.recorded.get(target, 0) > 0,
            run.slots.live is target,
        }
        if len(found) > 1:
            return Truth.PARTLY
        return Truth.HAPPENED if True in found else Truth.NOT_HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """Law 3: the old slot is still warm; going back is the same one command."""
        self.go_back(run)

    def go_back(self, run: Run) -> None:
        """Send the traffic to the slot that served before. Needs nothing of the journal, and may be said twice.

        Raises NeedsAttention, and leaves the traffic where it is, when the old slot does not answer or the router
        cannot be moved: what would be undone next is what serves.
        """
        old = run.plan.before.live
        # Behind held requests the old slot is stopped, and comes back before anybody is let through to it.
        if old is not None and self._carries(run) and run.world.router.state().held is None:
            self._refuse_dead(run, old)
        # The slot opposite is empty when nothing served before.
        switch_s = self._flip(run, old or run.plan.target.other)
        now = run.world.clock.monotonic()
        rollback_s = now - run.decided_at if run.decided_at is not None else switch_s
        run.save_slots(run.slots.switched(old))
        if old is not None:
            self._tell(run, old, switch_s, rollback_s)

    def _carries(self, run: Run) -> bool:
        state = run.world.router.state()
        return not state.running or state.weights.get(run.plan.target, 0) > 0

    def _refuse_dead(self, run: Run, old: Slot) -> None:
        """Nobody is led to a dead slot. One that does not answer is asked again for a while: nothing better can be done
        meanwhile, and an engine that starts anew makes all its containers unreachable for some seconds."""
        clock = run.world.clock
        end = clock.monotonic() + REVIVAL_S
        while (sick := self._sick(run, old)) and clock.monotonic() < end:
            clock.sleep(REVIVAL_POLL_S)
        if sick:
            raise NeedsAttention(
                f"the old slot is not healthy ({sick}), so traffic stays on {run.release.version}",
                hint=f"backstay status {run.environment.name}",
                state=f"{run.plan.target} serves",
            )

    def _sick(self, run: Run, old: Slot) -> str | None:
        mapping = run.slots.mappings.get(old) or run.plan.before.mappings.get(old)
        previous = run.plan.previous
        if mapping is None or previous is None:
            return None
        return first_sick(run.world.prober, mapping.placements, previous.components)

    def _flip(self, run: Run, to: Slot) -> float:
        try:
            return run.world.router.switch(to, run.token)
        except RouterError as error:
            raise NeedsAttention(
                f"the traffic could not be moved back to {to}: {error.message}",
                hint=error.hint or f"backstay recover {run.environment.name}",
                state="it stays where it is, and both slots keep running",
            ) from error

    def _tell(self, run: Run, old: Slot, switch_s: float, rollback_s: float) -> None:
        previous = run.plan.before.serving
        run.tell(
            "traffic_switched",
            f"{previous.version if previous else old} serves again ({old}), switched in {format_duration(switch_s)}",
            step=self.name,
            slot=old.value,
            switch_s=switch_s,
            rollback_s=rollback_s,
        )
