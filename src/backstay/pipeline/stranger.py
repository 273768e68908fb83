"""A router that serves what the store knows nothing of: the store was lost, or this is another state folder.

A first deployment would take what serves off the router, because nobody told it that anything serves.
"""

from __future__ import annotations

from backstay.domain.slot import Slot
from backstay.errors import StepFailed
from backstay.pipeline.run import Run


def refuse_stranger(run: Run) -> None:
    """StepFailed when the router sends traffic to a slot although the store says that nothing is live."""
    if run.plan.before.live is not None:
        return
    weights = run.world.router.state().weights
    served = [slot.value for slot in Slot if weights.get(slot, 0) > 0]
    if served:
        raise StepFailed(
            f"the router serves {served[0]}, but this state store knows of nothing that is live",
            hint="is this the right state folder? put back a copy of its state store, then run `backstay recover`",
            state="nothing was changed, and the router goes on as it is",
        )
