"""End a deployment that cannot be recovered here, as it stands: nothing is undone, and what has the traffic keeps it.

For the case that its journal was written by a newer Backstay that nobody can get at. Needs nothing of the journal.
"""

from __future__ import annotations

from collections.abc import Callable

from backstay.domain.deployment import Deployment, DeploymentState
from backstay.domain.slot import Slot
from backstay.errors import UsageError
from backstay.pipeline.begin import Beginner
from backstay.pipeline.left import unfinished
from backstay.pipeline.outcome import ATTENTION_STATUS
from backstay.ports.router import Router

REASON = "given up by hand: nothing was undone"


def give_up(beginner: Beginner, app: str, environment: str, router_of: Callable[[], Router]) -> Deployment:
    """The deployment, ended as one that needs a person. Raises Locked while its worker lives, UsageError when there is
    none to give up."""
    store = beginner.store
    held = beginner.claimed(app, environment)
    dead = unfinished(store, app, environment)
    if dead is None:
        raise UsageError(
            f"nothing was left half-done in {environment}", hint=f"backstay status {environment}"
        )
    lease = store.take_lease(
        app, environment, beginner.host.owner(), f"give up {dead.id}", dead.id, replaces=held
    )
    try:
        state, slots = router_of().state(), store.slots(app, environment)
        carrying = (
            next((slot for slot in Slot if state.weights.get(slot, 0) > 0), None) if state.running else None
        )
        if carrying is not None and carrying is not slots.live and carrying in slots.mappings:
            store.save_slots(lease.token, app, environment, slots.switched(carrying))
        store.tell(lease.token, dead.id, "attention_needed", REASON)
        if dead.state is DeploymentState.PENDING:
            store.move(lease.token, dead.id, DeploymentState.RUNNING)
        return store.move(
            lease.token,
            dead.id,
            DeploymentState.NEEDS_ATTENTION,
            exit_status=ATTENTION_STATUS,
            reason=REASON,
            hint=f"backstay status {environment}; then deploy a version that you trust",
        )
    finally:
        store.release_lease(lease)
