"""`backstay history`."""

from __future__ import annotations

import json

import click

from backstay.cli.context import project
from backstay.cli.options import Settings, with_common_options
from backstay.domain.duration import format_duration


@click.command(epilog="\b\nExamples:\n  backstay history prod\n  backstay history prod --limit 5 --json\n")
@click.argument("environment", metavar="ENV")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many rows.")
@with_common_options
def command(settings: Settings, environment: str, limit: int) -> int:
    """List the deployments of ENV, newest first."""
    from backstay.pipeline.document import deployment_document

    found = project(settings, environment)
    reader = found.reader()
    rows = reader.history(found.app, environment)[::-1][:limit]
    if settings.json:
        click.echo(json.dumps([deployment_document(row, reader.steps(row.id)) for row in rows]))
        return 0
    if not rows:
        click.echo(f"nothing was deployed to {environment} yet", err=True)
    for row in rows:
        took = format_duration(row.total_s) if row.total_s is not None else "under way"
        click.echo(
            f"{row.created_at[:19]}Z  {row.id}  {row.kind:<8} {row.previous_version or '-'} → {row.version:<12} "
            f"{row.state:<15} {took:<12} {row.requested_by}"
        )
        if row.reason:
            click.echo(f"    {row.reason}")
    return 0
