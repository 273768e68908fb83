"""`backstay abort`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from backstay import wiring
from backstay.cli.context import project
from backstay.cli.options import Settings, with_common_options
from backstay.cli.output import put
from backstay.domain.deployment import Deployment, DeploymentKind, DeploymentState, Wish
from backstay.domain.lease import Claim, claim
from backstay.domain.step import StepRecord
from backstay.errors import Locked, UsageError
from backstay.ports.store import Reader


@click.command(epilog="\b\nExample:\n  backstay abort prod\n")
@click.argument("environment", metavar="ENV")
@with_common_options
def command(settings: Settings, environment: str) -> int:
    """Stop the deployment under way in ENV safely: what was started is undone, the old release serves."""
    from backstay.cli.follow import follow
    from backstay.cli.interrupt import Interrupts
    from backstay.cli.launch import beginner, wait_quietly
    from backstay.pipeline.left import unfinished

    found = project(settings, environment)
    store = found.store()
    active = unfinished(store, found.app, environment)
    if active is None:
        raise UsageError(f"nothing is under way in {environment}", hint=f"backstay history {environment}")
    store.ask(active.id, Wish.ABORT)
    try:
        if _is_unheeded(store, active):
            recovered = beginner(found.where, store, found.receivers(environment)).recover(
                found.app, environment, lambda dead: wait_quietly(store, dead)
            )
            return _status(recovered)
    except Locked:
        if _is_unheeded(store, active):
            raise
    if not settings.quiet:
        put(_waiting_for(active, store.steps(active.id)), err=True)
    seen = max((e.seq for e in store.events(active.id)), default=0)
    with Interrupts(environment, begun=True, asked=True) as interrupts:
        follow(settings, store, active.id, interrupts, after=seen)
    ended = store.deployment(active.id)
    return _status(ended)


def _status(ended: Deployment | None) -> int:
    """UsageError when the wish came too late, as it is when nothing is under way any more."""
    if ended is not None and ended.state is DeploymentState.SUCCEEDED:
        raise UsageError(
            f"it was too late to abort: {ended.kind} {ended.version} ({ended.id}) had been proven already",
            hint=_next(ended),
            state=f"{ended.version} is live in {ended.environment}",
        )
    return 0 if ended is not None and ended.state is not DeploymentState.NEEDS_ATTENTION else 21


def _next(ended: Deployment) -> str:
    if ended.kind is DeploymentKind.DEPLOY:
        return f"backstay rollback {ended.environment} goes back from it"
    return f"backstay history {ended.environment}"


def _is_unheeded(store: Reader, active: Deployment) -> bool:
    """Whether nobody is there to heed a wish: its lease is free or somebody else's, or its owner seems to be gone."""
    held = store.lease(active.app, active.environment)
    if held is None or held.deployment != active.id:
        return True
    return claim(held, wiring.host().presence(held.owner), store.now()) is not Claim.REFUSE


def _waiting_for(active: Deployment, steps: Sequence[StepRecord]) -> str:
    """Which deployment was asked, where it is, and what has to end first."""
    at = steps[-1].name if steps else None
    where = f", now at {at}" if at else ""
    first = "; a migration that runs is let run to its end first" if at == "migrate" else ""
    return (
        f"asked {active.kind} {active.version} ({active.id}{where}) to abort safely; "
        f"waiting until what it started is undone{first} …"
    )
