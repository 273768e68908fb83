"""`backstay backup replaced`: the databases that were replaced, and are still there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from backstay import wiring
from backstay.cli.context import database_url, project
from backstay.cli.options import Settings, with_common_options
from backstay.cli.progress import Progress
from backstay.domain.duration import format_duration
from backstay.domain.size import format_bytes

if TYPE_CHECKING:
    from backstay.domain.environment import Environment
    from backstay.domain.secret import Secret
    from backstay.pipeline.replaced import Replaced

ROLES = {
    "before": "what was live before a restore, or a copy from before a migration",
    "failed": "what a migration left that was taken back",
    "restored": "the copy of a backup that was never put in place",
}


@click.command(
    name="replaced",
    epilog="\b\nExamples:\n  backstay backup replaced prod\n  backstay backup replaced prod --prune\n",
)
@click.argument("environment", metavar="ENV")
@click.option("--prune", is_flag=True, help="Drop those whose time (policy.keep_replaced) is over.")
@with_common_options
def command(settings: Settings, environment: str, prune: bool) -> int:
    """List the databases that a restore or a migration replaced in ENV, and that still are on its server."""
    from backstay.pipeline.replaced import prune_replaced, replaced

    found = project(settings, environment)
    chosen = found.application(environment).environment
    admin = admin_url(chosen)
    ports = wiring.backup.replaced_ports(found.reader())
    progress = Progress(settings)
    if prune:
        rows = prune_replaced(ports, chosen, admin, lambda kind, message: progress.say(message))
    else:
        rows = replaced(ports, chosen, admin)
    if settings.json:
        click.echo(json.dumps([row.as_document() for row in rows]))
        return 0
    for row in () if prune else rows:
        click.echo(_line(row))
    if not rows:
        click.echo("nothing to drop" if prune else f"no database of {environment} was replaced", err=True)
    return 0


def admin_url(environment: Environment) -> Secret:
    """The URL by which databases are made and renamed. ConfigError when there is none."""
    return database_url(environment, lambda database: database.admin)


def _line(row: Replaced) -> str:
    mark, size = row.beside.mark, row.beside.bytes
    shown = format_bytes(size) if size is not None else "-"
    over = ", its time is over" if row.expired else ""
    return f"{mark.at[:19]}Z  {row.beside.name}  {shown:>9}  {ROLES[mark.role]}, {format_duration(row.age_s)} old{over}"
