"""`backstay status`."""

from __future__ import annotations

import json
from typing import Any

import click

from backstay import wiring
from backstay.cli.context import Project, project
from backstay.cli.options import Settings, with_common_options
from backstay.domain.duration import format_duration

HELD = {
    "writes": "what would write waits, then gets the maintenance page",
    "all": "every request waits, then gets the maintenance page",
    "page": "every request gets the maintenance page",
}


@click.command(
    epilog="\b\nExamples:\n  backstay status\n  backstay status prod\n  backstay status prod --json\n"
)
@click.argument("environment", metavar="[ENV]", required=False)
@with_common_options
def command(settings: Settings, environment: str | None) -> int:
    """Show what serves now, as engine and router say it; differences from the records are shown as drift."""
    found = project(settings, environment)
    documents = [_look(found, name) for name in ([environment] if environment else found.environments)]
    if settings.json:
        click.echo(json.dumps(documents[0] if environment else documents))
        return 0
    for document in documents:
        _show(document)
    return 0


def _look(found: Project, environment: str) -> dict[str, Any]:
    from backstay.pipeline.status import status

    look = wiring.look(found.where, found.app, environment)
    return status(look, found.app, environment)


def _show(document: dict[str, Any]) -> None:
    click.echo(f"{document['app']} {document['environment']}")
    _show_slot("live", document["live"])
    _show_slot("standby", document["standby"])
    weights = document["weights"]
    click.echo(f"  traffic   blue {weights['blue']} %, green {weights['green']} %")
    if held := document["held"]:
        click.echo(f"  held      {HELD[held]}")
    if active := document["deployment"]:
        worker = active["worker"]
        life = "alive" if worker and worker["alive"] else "dead"
        click.echo(
            f"  under way {active['id']} ({active['release']}): {active['state']}, step {active['step']}, worker {life}"
        )
        if foreseen := active["recovery"]:
            course = foreseen["course"] or "refused"
            click.echo(
                f"            backstay recover {document['environment']} → {course}: {foreseen['why']}"
            )
    if lock := document["lock"]:
        click.echo(f"  locked    by {lock['owner']} for {lock['purpose']}, until {lock['expires_at']}")
    if backup := document["last_backup"]:
        click.echo(f"  backup    {backup['id']} ({backup['state']}, {format_duration(backup['age_s'])} old)")
        if backup["notice"]:
            click.echo(f"  notice    {backup['notice']}")
    for difference in document["drift"]:
        cure = f" (backstay recover: {difference['cure']})" if difference["cure"] else ""
        click.echo(
            f"  DRIFT     {difference['what']}: expected {difference['expected']}, found {difference['found']}{cure}"
        )


def _show_slot(label: str, slot: dict[str, Any] | None) -> None:
    if slot is None:
        click.echo(f"  {label:<9} nothing")
        return
    click.echo(f"  {label:<9} {slot['release']} in {slot['slot']} since {slot['since']}")
    for name, component in slot["components"].items():
        health = "healthy" if component["healthy"] else "NOT HEALTHY"
        click.echo(
            f"    {name:<12} {component['version']:<8} {health:<12} container {component['container']} "
            f"port {component['port']}, {component['restarts']} restarts"
        )
