"""`backstay notifications`."""

from __future__ import annotations

import json

import click

from backstay import wiring
from backstay.cli.context import open_store
from backstay.cli.notify import outcome, place_of
from backstay.cli.options import Settings, with_common_options
from backstay.domain.notification import SendState

RETRY_S = 30.0
"""How long `retry` stays at most, however much is waiting."""


@click.group(
    name="notifications",
    epilog="\b\nExamples:\n  backstay notifications list prod\n  backstay notifications retry prod\n",
)
def command() -> None:
    """List what was told to whom, and retry what did not arrive."""


@command.command(name="list", epilog="\b\nExample:\n  backstay notifications list prod --json\n")
@click.argument("environment", metavar="[ENV]", required=False)
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many rows.")
@with_common_options
def list_(settings: Settings, environment: str | None, limit: int) -> int:
    """List notifications, newest first, one row per message and channel; writes nothing."""
    from backstay.pipeline.document import notification_document

    place = place_of(settings, environment)
    rows = wiring.open_reader(place.where).notifications(place.app, environment)[:limit]
    if settings.json:
        click.echo(json.dumps([notification_document(row) for row in rows]))
        return 0
    if not rows:
        click.echo("nothing was told yet", err=True)
    for row in rows:
        click.echo(
            f"{row.created_at[:19]}Z  {row.environment:<8} {row.status:<9} {row.component:<10} "
            f"{row.channel:<20} {row.state:<8} {row.attempts}x  {' '.join(row.message.split())}"
        )
        if row.last_error and row.state is not SendState.SENT:
            click.echo(f"    {row.last_error}")
    return 0


@command.command(epilog="\b\nExample:\n  backstay notifications retry prod\n")
@click.argument("environment", metavar="[ENV]", required=False)
@with_common_options
def retry(settings: Settings, environment: str | None) -> int:
    """Try at once whatever did not arrive, also what was given up. Exit status 10 when something still did not."""
    from backstay.pipeline.document import notification_document
    from backstay.pipeline.notify import send_now

    place = place_of(settings, environment)
    store = open_store(place.where)
    store.retry_notifications(place.app, environment)
    waiting = {
        row.id for row in store.notifications(place.app, environment) if row.state is SendState.PENDING
    }
    receivers = wiring.receivers(place.where, place.urls)
    if waiting:
        send_now(store, receivers, place.app, RETRY_S)
    rows = [row for row in reversed(store.notifications(place.app, environment)) if row.id in waiting]
    left = [row for row in rows if row.state is not SendState.SENT]
    if settings.json:
        documents = [notification_document(row) for row in rows]
        click.echo(json.dumps({"ok": not left, "notifications": documents}))
        return 10 if left else 0
    for row in left:
        known = row.target in receivers.targets
        why = (
            outcome(row)
            if known
            else "its receiver is not in `notify:` any more, or a variable in it is not set"
        )
        click.echo(f"{row.created_at[:19]}Z  {row.environment} {row.status}  {row.channel}: {why}", err=True)
    click.echo(f"{len(rows) - len(left)} told, {len(left)} left", err=True)
    return 10 if left else 0
