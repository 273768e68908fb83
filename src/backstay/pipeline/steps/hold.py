"""Hold the requests while the database is changed, and let them through again.

Between *hold* and *open* no person's write is acknowledged by anybody, so whatever happens then can be taken back with
nothing lost. *open* is the point of no return: from then on going back would lose what people wrote.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from backstay.domain.duration import format_duration
from backstay.domain.slot import Slot
from backstay.domain.step import StepRecord, StepState, Truth
from backstay.errors import BackupFailed, DatabaseError, NeedsAttention, RouterError
from backstay.pipeline.live import live_of
from backstay.pipeline.routes import routes_of
from backstay.pipeline.run import Run
from backstay.ports.router import Hold, SlotRoutes, Upstream

NOWHERE: Final = ("127.0.0.1", 1)
"""Where nobody answers."""

DRAIN_S: Final = 10.0
"""What is in flight when the hold begins gets this long at most (`policy.drain_deadline` may give it less): everybody
else waits for it."""

BEHIND: Final = frozenset({"quiesce", "copy", "swap"})
"""Steps behind the hold whose effect must be gone before anybody is let through to the old release."""


class HoldStep:
    name = "hold"
    title = "hold the requests"

    def do(self, run: Run) -> dict[str, Any]:
        self._refuse_unfit(run)
        router, policy = run.world.router, run.environment.policy
        router.load(_shaped(run), run.token)
        router.hold(Hold.ALL, policy.hold_deadline_s, run.token)
        waits = format_duration(policy.hold_deadline_s)
        run.tell(
            "requests_held",
            f"requests wait, for {waits} at most; then a page asks for patience",
            step=self.name,
        )
        live = run.slots.live
        cut = router.drain(live, min(DRAIN_S, policy.drain_deadline_s), run.token) if live else 0
        if cut:
            run.tell("requests_cut", f"{cut} connections that did not end were cut", step=self.name)
        return {"cut": cut}

    def probe(self, run: Run, record: StepRecord) -> Truth:
        state = run.world.router.state()
        if not state.running:
            return Truth.UNKNOWN
        return Truth.NOT_HAPPENED if state.held is None else Truth.HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """Let the requests through to the old release, if it has its database and its containers again.

        Raises NeedsAttention when it has not: people then see the maintenance page, and nothing they write is lost.
        """
        stuck = [
            each.name
            for each in run.world.store.steps(run.id)
            if each.name in BEHIND and each.state is StepState.UNDOING
        ]
        if stuck:
            with suppress(RouterError):  # held already, so they get the page all the same
                run.world.router.hold(Hold.PAGE, 0.0, run.token)
            raise NeedsAttention(
                f"what {', '.join(stuck)} did could not be taken back, so nobody is let through",
                hint=f"backstay events {run.id} shows why; deploy again once that is mended",
                state="everybody gets the maintenance page; no write that was acknowledged is lost",
            )
        run.world.router.release(run.token)
        run.tell("requests_released", "requests go through again", step=self.name)

    def _refuse_unfit(self, run: Run) -> None:
        """While nobody waits yet."""
        live = live_of(run)
        try:
            for note in live.cluster.refuse_unfit(live.name):
                run.tell("database_noted", note, step=self.name)
        except DatabaseError as error:
            raise BackupFailed(error.message, hint=error.hint, state="nothing was changed") from error


def _shaped(run: Run) -> dict[Slot, SlotRoutes]:
    """What stands in the slots, and places for what will: so that nothing later makes the router reload, which would
    leave requests waiting in a process that knows nothing of the new slot. A router that an earlier Backstay set up
    learns by it to hold."""
    places = {
        name: Upstream(name, *NOWHERE, component.health) for name, component in run.release.components.items()
    }
    return {**routes_of(run, run.slots), run.plan.target: SlotRoutes(run.release.routes, places)}


class OpenStep:
    name = "open"
    title = "let the requests through"

    def do(self, run: Run) -> dict[str, Any]:
        """The old slot leaves the records: its containers are stopped, and its release does not fit this database."""
        run.world.router.release(run.token)
        run.tell("requests_released", f"requests go through, to {run.release.version}", step=self.name)
        slots = run.slots.emptied(run.plan.target.other)
        run.save_slots(slots)
        run.world.router.load(routes_of(run, slots), run.token)
        return {}

    def probe(self, run: Run, record: StepRecord) -> Truth:
        state = run.world.router.state()
        if not state.running:
            return Truth.UNKNOWN
        return Truth.HAPPENED if state.held is None else Truth.NOT_HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """Never: what people wrote since would be lost, and nobody has accepted that."""
        previous = run.plan.previous
        raise NeedsAttention(
            f"{run.release.version} has served on the changed database; going back would lose what was written since",
            hint="deploy a mended version; or restore what was before, and name the loss: "
            + (
                f"backstay backup restore {run.environment.name} ID --version {previous.version}"
                if previous
                else ""
            )
            + f" (backstay backup list {run.environment.name} shows what there is)",
            state=f"{run.release.version} serves; no write is lost",
        )


def let_through(run: Run) -> None:
    """No proven release waits for its people, and no deployment that ends well, or as if it had never been, leaves
    requests held: its own are released by its steps already, and here those that an earlier one left, which needed a
    person."""
    try:
        state = run.world.router.state()
        if state.running and state.held is not None and state.token == run.token:
            run.world.router.release(run.token)
            run.tell("requests_released", "requests go through again")
    except RouterError as error:
        run.tell("router_silent", f"requests may still be held: {error.message}")
