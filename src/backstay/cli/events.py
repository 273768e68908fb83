"""`backstay events`."""

from __future__ import annotations

import json

import click

from backstay.cli.context import project
from backstay.cli.options import Settings, with_common_options
from backstay.domain.step import Event
from backstay.errors import UsageError


@click.command(
    epilog="\b\nExamples:\n  backstay events 20261123-101500-4f2a\n  backstay events ID --follow --json\n"
)
@click.argument("deployment")
@click.option("--follow", "following", is_flag=True, help="Go on until the deployment ends.")
@with_common_options
def command(settings: Settings, deployment: str, following: bool) -> int:
    """Print the events of a deployment, oldest first."""
    found = project(settings)
    reader = found.reader()
    if reader.deployment(deployment) is None:
        raise UsageError(f"there is no deployment {deployment!r}", hint="backstay history ENV lists them")
    if following:
        from backstay.cli.follow import watch

        for event in watch(reader, deployment):
            _show(settings, event)
        return 0
    for event in reader.events(deployment):
        _show(settings, event)
    return 0


def _show(settings: Settings, event: Event) -> None:
    if settings.json:
        from backstay.pipeline.document import event_document

        click.echo(json.dumps(event_document(event)))
        return
    click.echo(f"{event.at}  {event.kind:<20} {event.step or '':<13} {event.message}")
    for line in event.data.get("output") or ():
        click.echo(f"{'':<26}| {line}")
