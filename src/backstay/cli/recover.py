"""`backstay recover`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from backstay import wiring
from backstay.cli.context import Project, project
from backstay.cli.options import Settings, with_common_options
from backstay.domain.deployment import Deployment, DeploymentState
from backstay.errors import BackstayError, Locked, UsageError

if TYPE_CHECKING:
    from backstay.domain.drift import Drift
    from backstay.pipeline.maintain import Order
    from backstay.ports.store import Store

EPILOG = """\b
Examples:
  backstay recover                 every environment of backstay.yml
  backstay recover prod
  backstay recover prod --dry-run  what it would do, and why

Exit status: 0 all is well · 20 a deployment was taken back, the old release serves · 21 needs a human
"""
FAILED_STATUS = 20
ATTENTION_STATUS = 21


@click.command(epilog=EPILOG)
@click.argument("environment", metavar="[ENV]", required=False)
@click.option("--dry-run", is_flag=True, help="Tell what would be done and why, and change nothing.")
@click.option(
    "--give-up", is_flag=True, help="End what was left as it stands; nothing is undone. The last resort."
)
@with_common_options
def command(settings: Settings, environment: str | None, dry_run: bool, give_up: bool) -> int:
    """Bring what a dead worker left to its end, remove what nobody owns, and make the world as recorded again.

    May be run at any time and as often as you like; a deployment under way is left alone.
    """
    if give_up and (environment is None or dry_run):
        raise UsageError("--give-up needs one ENV, and no --dry-run", hint="backstay recover prod --give-up")
    found = project(settings, environment)
    names = [environment] if environment else list(found.environments)
    act = _foresee if dry_run else _give_up if give_up else _recover
    documents = [act(settings, found, name) for name in names]
    if settings.json:
        click.echo(json.dumps(documents[0] if environment else documents))
    elif not settings.quiet:
        for document in documents:
            _show(document)
    statuses = [int(document["exit_status"]) for document in documents]
    return statuses[0] if environment else max(s for s in (*statuses, 0) if s != UsageError.exit_status)


def _recover(settings: Settings, found: Project, environment: str) -> dict[str, Any]:
    """Recover one environment. What keeps us from it is told, and keeps nobody from recovering the others."""
    document = _blank(environment)
    try:
        _act(settings, found, environment, document)
    except Locked as held:
        document["left_alone"] = held.message
    except UsageError as refused:  # it lives on another control host
        document["left_alone"], document["exit_status"] = refused.message, refused.exit_status
    except BackstayError as error:
        _note(document, error)
    return document


def _act(settings: Settings, found: Project, environment: str, document: dict[str, Any]) -> None:
    from backstay.cli.launch import beginner
    from backstay.pipeline.maintain import maintain

    store = found.store()
    starting = beginner(found.where, store, found.receivers(environment))
    ended = starting.recover(found.app, environment, lambda dead: _watch(settings, store, dead))
    if ended is not None:
        _record_end(document, ended, store)
    order = maintain(starting, found.app, environment, lambda e: wiring.world(found.where, e, store))
    _record_order(document, order, store, found.app)


def _give_up(settings: Settings, found: Project, environment: str) -> dict[str, Any]:
    from backstay.cli.launch import beginner
    from backstay.pipeline.giveup import give_up

    store = found.store()
    starting = beginner(found.where, store)
    ended = give_up(
        starting, found.app, environment, lambda: wiring.router(found.where, found.app, environment)
    )
    document = _blank(environment)
    _record_end(document, ended, store)
    return document


def _watch(settings: Settings, store: Store, dead: str) -> None:
    """Show what the recovering worker does, until it has ended."""
    from backstay.cli.follow import watch
    from backstay.cli.progress import Progress

    seen = max((event.seq for event in store.events(dead)), default=0)
    progress = Progress(settings)
    with progress:
        for event in watch(store, dead, seen):
            if not settings.json:
                progress.show(event)


def _foresee(settings: Settings, found: Project, environment: str) -> dict[str, Any]:
    from backstay.pipeline.foresee import foresee, is_dead
    from backstay.pipeline.left import unfinished
    from backstay.pipeline.maintain import find

    document = {**_blank(environment), "dry_run": True}
    look = wiring.look(found.where, found.app, environment)
    try:
        active = unfinished(look.store, found.app, environment)
        if active is not None and not is_dead(look, active):
            document["left_alone"] = f"{active.id} is under way ({active.state}), and its worker lives"
            return document
        if active is not None:
            seen = foresee(look, active)
            document["recovered"] = {
                "deployment": active.id,
                "state": active.state.value,
                "release": active.version,
            }
            document["decision"] = {"course": seen.course, "why": seen.why}
            document["exit_status"] = _FORESEEN.get(seen.course or "", ATTENTION_STATUS)
        order = find(look.store, found.app, environment, lambda e: wiring.looking(found.where, e, look.store))
        _record_order(document, order, look.store, found.app)
    except BackstayError as error:
        _note(document, error)
    return document


_FORESEEN = {"forward": 0, "undo": FAILED_STATUS}


def _blank(environment: str) -> dict[str, Any]:
    return {
        "environment": environment,
        "dry_run": False,
        "recovered": None,
        "decision": None,
        "healed": [],
        "removed": [],
        "drift": [],
        "failed": [],
        "left_alone": None,
        "error": None,
        "exit_status": 0,
    }


def _record_end(document: dict[str, Any], ended: Deployment, store: Store) -> None:
    from backstay.pipeline.document import deployment_document

    document["recovered"] = deployment_document(ended, store.steps(ended.id))
    decided = [e for e in store.events(ended.id) if e.kind == "recovery_decided"]
    if decided:
        course = decided[-1].data["course"]
        document["decision"] = {"course": course, "why": decided[-1].message.partition(": ")[2]}
    statuses = {DeploymentState.SUCCEEDED: 0, DeploymentState.NEEDS_ATTENTION: ATTENTION_STATUS}
    document["exit_status"] = statuses.get(ended.state, FAILED_STATUS)


def _record_order(document: dict[str, Any], order: Order, store: Any, app: str) -> None:
    from backstay.pipeline.status import drift_document

    document["healed"] = [drift_document(drift) for drift in order.cured]
    document["removed"] = list(order.removed)
    document["drift"] = [drift_document(drift) for drift in order.left]
    document["failed"] = list(order.failed)
    live = store.slots(app, document["environment"]).live
    if not document["dry_run"] and any(_hurts(drift, live) for drift in order.left):
        document["exit_status"] = ATTENTION_STATUS


def _hurts(drift: Drift, live: object) -> bool:
    """Whether what still differs concerns what serves."""
    return drift.slot is None or drift.slot == live


def _note(document: dict[str, Any], error: BackstayError) -> None:
    document["error"] = {"reason": error.message, "hint": error.hint, "state": error.state}
    document["exit_status"] = ATTENTION_STATUS if error.exit_status == ATTENTION_STATUS else FAILED_STATUS


def _show(document: dict[str, Any]) -> None:
    """What was done, or would be, as lines that begin with the environment."""
    name, would = document["environment"], document["dry_run"]
    lines = []
    if error := document["error"]:
        lines.append(f"error: {error['reason']}")
        lines += [f"state: {error['state']}"] if error["state"] else []
        lines += [f"next:  {error['hint']}"] if error["hint"] else []
    if document["left_alone"]:
        lines.append(f"left alone: {document['left_alone']}")
    if left := document["recovered"]:
        lines += _story(left, document["decision"], would)
    for drift in document["healed"]:
        lines.append(f"healed {drift['what']}: {drift['found']}; {drift['cure']}")
    lines += [f"{'would remove' if would else 'removed'} {what}" for what in document["removed"]]
    for drift in document["drift"]:
        cure = f"; recovery: {drift['cure']}" if would and drift["cure"] else ""
        lines.append(f"DRIFT {drift['what']}: expected {drift['expected']}, found {drift['found']}{cure}")
    lines += [f"could not heal {what}" for what in document["failed"]]
    for line in lines or ["nothing to recover"]:
        click.echo(f"{name}: {line}")


def _story(left: dict[str, Any], decision: dict[str, Any] | None, would: bool) -> list[str]:
    what = f"{left['deployment']} ({left['release']})"
    why = f"{decision['course']}: {decision['why']}" if decision else ""
    if would:
        return [f"the worker of {what} is dead; recovery would go {why}"]
    lines = [f"{what} ended {left['state']}" + (f" ({why})" if why else "")]
    return lines + ([f"next:  {left['hint']}"] if left["hint"] and left["state"] != "succeeded" else [])
