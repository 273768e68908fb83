"""`backstay rollback`."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import click

from backstay import wiring
from backstay.cli.context import Project, project
from backstay.cli.options import Settings, with_common_options
from backstay.cli.output import put
from backstay.domain.deployment import Deployment, DeploymentKind, DeploymentState, Wish
from backstay.domain.lease import Lease, Presence
from backstay.errors import Locked
from backstay.ports.store import Reader, Store

if TYPE_CHECKING:
    from backstay.domain.environment import Environment
    from backstay.domain.plan import Plan

EPILOG = """\b
Examples:
  backstay rollback prod                 everything, to the release before
  backstay rollback prod backend         only the backend, if it served with the others before
  backstay rollback prod --to v1         to a release that served here before
  backstay rollback prod --dry-run
"""
ACKNOWLEDGE_S = 0.5
"""A worker that bakes looks for wishes every 0.1 s; one that has not answered after this is taken over."""


@click.command(epilog=EPILOG)
@click.argument("environment", metavar="ENV")
@click.argument("component", default="all", metavar="[COMPONENT|all]")
@click.option(
    "--to", metavar="VERSION", help="A version that served here before (default: the previous one)."
)
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing.")
@click.option("--force", is_flag=True, help="Also bring components together that never served together.")
@with_common_options
def command(
    settings: Settings, environment: str, component: str, to: str | None, dry_run: bool, force: bool
) -> int:
    """Go back to the release that served before; while a deployment bakes, reverse it at once.

    A warm slot takes one router command. The result is verified by smoke tests through the public route.
    """
    found = project(settings, environment)
    if dry_run:
        return _show(settings, found, environment, component, to, force)
    active = _active(found.reader(), found.app, environment)
    if active is not None and active.kind is DeploymentKind.DEPLOY and component == "all" and to is None:
        store = found.store()
        status = _reverse(settings, found, store, active)
        if status is not None:
            return status
        store.close()
        if not settings.quiet:
            put(f"{active.version} had been proven already; going back from it …", err=True)
    return _begin(settings, found, environment, component, to, force)


def _begin(
    settings: Settings, found: Project, environment: str, component: str, to: str | None, force: bool
) -> int:
    from backstay.cli.deploy import begin, new_id
    from backstay.cli.follow import follow
    from backstay.cli.interrupt import Interrupts
    from backstay.cli.launch import Prepared, wait_quietly

    id_, application = new_id(), found.application(environment)
    with Interrupts(environment) as interrupts:
        with Prepared(found.where, id_, application.notify) as worker:
            store = found.store()
            starting = worker.beginner(store)
            starting.recover(found.app, environment, lambda dead: wait_quietly(store, dead))
            plan = _plan(found, environment, component, to, force, store)
            _refuse_without_secrets(application.environment, plan)
            interrupts.begin()
            begin(settings, starting, id_, found, application, plan)
        return follow(settings, store, id_, interrupts)


def _show(
    settings: Settings, found: Project, environment: str, component: str, to: str | None, force: bool
) -> int:
    from backstay.cli.plan import show_plan

    plan = _plan(found, environment, component, to, force, found.reader())
    return show_plan(settings, found.application(environment), plan)


def _plan(
    found: Project, environment: str, component: str, to: str | None, force: bool, store: Reader
) -> Plan:
    from backstay.pipeline.resolve import plan_rollback
    from backstay.pipeline.standby import gone

    engine_of = partial(wiring.live_engine, found.where, store, found.app, environment)
    gone_of = partial(gone, wiring.prober(), engine_of)
    return plan_rollback(found.app, environment, component, to, force, store, gone_of)


def _refuse_without_secrets(environment: Environment, plan: Plan) -> None:
    """CheckFailed when a container would have to start without a secret that its release knows."""
    from backstay.pipeline.secret import names_of, needed

    if names := names_of(plan.release.components[name] for name in plan.new_components):
        needed(environment, wiring.secrets(environment).read(), names)


def _active(store: Reader, app: str, environment: str) -> Deployment | None:
    """The deployment a living worker works on, or None."""
    held = store.lease(app, environment)
    if held is None or held.deployment is None or wiring.host().presence(held.owner) is Presence.GONE:
        return None
    return store.deployment(held.deployment)


def _reverse(settings: Settings, found: Project, store: Store, active: Deployment) -> int | None:
    """Ask the baking worker to flip back; take over when it does not answer. Locked before the switch.

    None when it came too late: the release was proven by then, and what is left is to go back from it.
    """
    from backstay.cli.follow import follow
    from backstay.cli.interrupt import Interrupts

    seen = max((e.seq for e in store.events(active.id)), default=0)
    if not any(e.kind == "traffic_switched" for e in store.events(active.id)):
        raise Locked(
            f"deployment {active.id} of {active.version} has not switched traffic yet",
            hint=f"backstay abort {active.environment} stops it; the old release serves",
            state="nothing was changed",
        )
    if not _is_proven(store, active.id):
        store.ask(active.id, Wish.ROLLBACK)
        if not _acknowledged(store, active.id):
            _take_over(found, store, active)
    with Interrupts(active.environment, begun=True, asked=True) as interrupts:
        follow(settings, store, active.id, interrupts, after=seen)
    ended = store.deployment(active.id)
    if ended is not None and ended.state is DeploymentState.SUCCEEDED:
        return None
    reversed_ = ended is not None and ended.state in (DeploymentState.ROLLED_BACK, DeploymentState.FAILED)
    return 0 if reversed_ else 21


def _take_over(found: Project, store: Store, active: Deployment) -> None:
    """End a worker of this host that does not hear, and let a recovery heed the wish in its place."""
    from backstay.cli.launch import beginner

    held = store.lease(found.app, active.environment)
    if held is not None and held.deployment == active.id and _is_of_this_host(held):
        wiring.host().end(held.owner)
        beginner(found.where, store, found.receivers(active.environment)).recover(
            found.app, active.environment, lambda dead: None
        )


def _is_of_this_host(held: Lease) -> bool:
    """Whether we could end its owner; one elsewhere needs longer to hear of the wish, and is only followed."""
    return wiring.host().presence(held.owner) is not Presence.UNKNOWN


def _is_proven(store: Reader, deployment: str) -> bool:
    from backstay.domain.recovery import is_proven

    return is_proven(DeploymentKind.DEPLOY, store.steps(deployment))


def _acknowledged(store: Reader, deployment: str) -> bool:
    """Whether its worker reverses it, or has no need to be ended: it is at its end."""
    deadline = time.monotonic() + ACKNOWLEDGE_S
    while time.monotonic() < deadline:
        now = store.deployment(deployment)
        if now is None or now.state.is_final:
            return True
        if _is_proven(store, deployment):
            return True
        if any(e.kind == "reversal_started" for e in store.events(deployment)):
            return True
        time.sleep(0.02)
    return False
