"""`backstay status`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from backstay import wiring
from backstay.cli.context import Project, project
from backstay.cli.options import Settings, with_common_options
from backstay.domain.duration import format_duration
from backstay.errors import ConfigError

if TYPE_CHECKING:
    from backstay.domain.environment import Environment

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
    return {**status(look, found.app, environment), "objectives": _objectives(found, environment)}


def _objectives(found: Project, environment: str) -> dict[str, Any] | None:
    """What protects the environment, by the policy that is in force or, where the file has a fault, was when the live
    release came; None where there is no database, and on a host that has not its backups."""
    from backstay.pipeline.home import elsewhere
    from backstay.pipeline.objective import objectives

    reader = found.reader()
    if elsewhere(reader, wiring.host(), found.app, environment):
        return None
    settings: Environment | None
    try:
        settings = found.application(environment).environment
    except ConfigError:
        serving = reader.slots(found.app, environment).serving
        settings = reader.environment_of(serving.deployment) if serving is not None else None
    if settings is None or settings.database is None:
        return None
    ports, folder = wiring.backup.protection_ports(reader), wiring.wal_folder(found.where, settings)
    return objectives(ports, found.app, environment, settings.policy.objective, folder)


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
    _show_objectives(document["objectives"])
    for difference in document["drift"]:
        cure = f" (backstay recover: {difference['cure']})" if difference["cure"] else ""
        click.echo(
            f"  DRIFT     {difference['what']}: expected {difference['expected']}, found {difference['found']}{cure}"
        )


def _show_objectives(objectives: dict[str, Any] | None) -> None:
    if objectives is None:
        return
    for name in ("rpo", "rto"):
        measure = objectives[name]
        word = "BROKEN" if measure["standing"] == "broken" else measure["standing"]
        click.echo(f"  {name.upper():<9} {word}: {measure['detail']}")
    if wal := objectives["continuous"]:
        window = wal["window"][-1:]
        reach = f", back to any moment from {window[0]['from']} to {window[0]['to']}" if window else ""
        why = f": {wal['message']}" if wal["message"] else ""
        click.echo(f"  WAL       {wal['flow']}{why}{reach}")
        if wal["gap"]:
            click.echo(f"  GAP       {wal['gap']}")
    for alarm in objectives["alarms"]:
        click.echo(f"  ALARM     {alarm['message']} (since {alarm['since'][:19]}Z)")
    for duty in objectives["duties"]:
        if duty["state"] == "overdue":
            click.echo(f"  OVERDUE   {duty['duty']} since {duty['due_at'][:10]}")


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
