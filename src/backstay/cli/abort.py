"""`backstay abort`."""

from __future__ import annotations

import click

from backstay import wiring
from backstay.cli.context import project
from backstay.cli.options import Settings, with_common_options
from backstay.domain.deployment import Deployment, DeploymentState, Wish
from backstay.errors import UsageError


@click.command(epilog="\b\nExample:\n  backstay abort prod\n")
@click.argument("environment", metavar="ENV")
@with_common_options
def command(settings: Settings, environment: str) -> int:
    """Stop the deployment under way in ENV safely: what was started is undone, the old release serves."""
    from backstay.cli.follow import follow
    from backstay.cli.launch import beginner, wait_quietly
    from backstay.pipeline.left import unfinished

    found = project(settings, environment)
    store = found.store()
    active = unfinished(store, found.app, environment)
    if active is None:
        raise UsageError(f"nothing is under way in {environment}", hint=f"backstay history {environment}")
    store.ask(active.id, Wish.ABORT)
    held = store.lease(found.app, environment)
    if held is None or wiring.host().presence(held.owner) == "gone":
        recovered = beginner(found.where, store, found.receivers(environment)).recover(
            found.app, environment, lambda dead: wait_quietly(store, dead)
        )
        return _status(recovered)
    seen = max((e.seq for e in store.events(active.id)), default=0)
    follow(settings, store, active.id, after=seen)
    ended = store.deployment(active.id)
    return _status(ended)


def _status(ended: Deployment | None) -> int:
    return 0 if ended is not None and ended.state is not DeploymentState.NEEDS_ATTENTION else 21
