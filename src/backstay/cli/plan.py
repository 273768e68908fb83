"""`backstay plan`."""

from __future__ import annotations

import json
from typing import Any

import click

from backstay.cli.options import Settings, with_common_options
from backstay.domain.duration import format_duration
from backstay.domain.environment import Application
from backstay.domain.plan import Origin, Plan, wants_backup, wants_hold, wants_rehearsal, wants_verification

EPILOG = """\b
Examples:
  backstay plan prod --version v2
  backstay plan prod --version v2 --component backend --json
"""
ORIGINS = {
    Origin.NEW: "a new container",
    Origin.LIVE: "stays as it is live",
    Origin.STANDBY: "the warm standby container",
}


@click.command(epilog=EPILOG)
@click.argument("environment", metavar="ENV")
@click.option("--version", required=True, help="Image tag to plan for.")
@click.option("--component", "only", multiple=True, metavar="C", help="Only this component; repeatable.")
@with_common_options
def command(settings: Settings, environment: str, version: str, only: tuple[str, ...]) -> int:
    """Show what `deploy` would do. Asks the registry for digests; writes nothing and pulls nothing."""
    from backstay.cli.context import project
    from backstay.cli.deploy import make_plan

    found = project(settings, environment)
    application = found.application(environment)
    return show_plan(settings, application, make_plan(found, application, version, only, force=True))


def show_plan(settings: Settings, application: Application, plan: Plan) -> int:
    """Print a plan, as text or as JSON."""
    document = plan_document(application, plan)
    if settings.json:
        click.echo(json.dumps(document))
        return 0
    previous = plan.previous.version if plan.previous else "nothing"
    click.echo(
        f"{plan.kind} {application.environment.name}: {previous} → {plan.release.version} ({plan.release.id})"
    )
    for name, component in plan.release.components.items():
        click.echo(f"  {name:<12} {component.reference}  ({ORIGINS[plan.origins[name]]})")
    click.echo(f"  into slot    {plan.target}")
    click.echo("  steps        " + " → ".join(document["steps"]))
    for note in document["notes"]:
        click.echo(f"  note         {note}")
    return 0


def plan_document(application: Application, plan: Plan) -> dict[str, Any]:
    """A plan as JSON: release, components, slot, steps and notes."""
    environment = application.environment
    steps = planned_steps(application, plan)
    notes = []
    if "backup" in steps and "rehearse" not in steps:
        notes.append(
            "the backup stays unverified: policy.verify and policy.rehearsal do not want it restored"
        )
    if "rehearse" in steps and not wants_rehearsal(plan, environment):
        notes.append("rehearse only restores the backup, to verify it: policy.rehearsal wants no more")
    if wants_hold(plan, environment):
        wait = format_duration(environment.policy.hold_deadline_s)
        notes.append(f"requests wait from hold to open, {wait} at most, then get a maintenance page")
    if plan.unused:
        notes.append(f"vouched for, the live release does not use: {', '.join(plan.unused)}")
    if plan.kind == "deploy":
        notes.append(
            f"bake of {format_duration(environment.policy.bake_s)} (policy {environment.policy.level})"
        )
    return {
        "kind": plan.kind.value,
        "environment": environment.name,
        "release": plan.release.version,
        "release_id": plan.release.id,
        "previous": plan.previous.version if plan.previous else None,
        "slot": plan.target.value,
        "components": {
            name: {
                "image": component.reference,
                "version": component.version,
                "origin": plan.origins[name].value,
            }
            for name, component in plan.release.components.items()
        },
        "steps": steps,
        "notes": notes,
    }


def planned_steps(application: Application, plan: Plan) -> list[str]:
    """Names of the steps that will run, in order."""
    if plan.kind == "rollback":
        if plan.is_warm:
            return ["health", "router", "switch", "snapshot", "public-smoke", "retire"]
        prepare = ["snapshot", "router", "pull", "start", "stage", "health", "smoke"]
        return [*prepare, "switch", "public-smoke", "retire"]
    if plan.kind == "restore":
        beside = [
            "snapshot",
            "router",
            "pull",
            "restore",
            "hold",
            "quiesce",
            "swap",
            "start",
            "stage",
            "health",
        ]
        return [*beside, "smoke", "switch", "public-smoke", "open", "retire"]
    held = wants_hold(plan, application.environment)
    optional = {
        "backup": wants_backup(plan, application.environment),
        "rehearse": wants_verification(plan, application.environment),
        "migrate": bool(plan.migrating),
        **dict.fromkeys(("restore", "swap"), False),
        **dict.fromkeys(("hold", "quiesce", "copy", "open"), held),
    }
    from backstay.pipeline.deploy import STEPS

    return [step.name for step in STEPS if optional.get(step.name, True)]
