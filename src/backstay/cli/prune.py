"""`backstay backup prune`, `pin` and `copy`: what becomes of backups that are there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from backstay import wiring
from backstay.cli.context import open_store
from backstay.cli.options import Settings, with_common_options
from backstay.cli.progress import Progress
from backstay.domain.backup import WHOLE, Backup
from backstay.domain.size import format_bytes
from backstay.errors import ConfigError, DatabaseError, UsageError

if TYPE_CHECKING:
    from backstay.cli.backup import Target
    from backstay.pipeline.prune import Teller
    from backstay.ports.store import Store

FAILED = 30


@click.command(
    epilog="\b\nExamples:\n  backstay backup prune prod --dry-run\n  backstay backup prune prod --json\n"
)
@click.argument("environment", metavar="ENV")
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@click.option(
    "--unverified", is_flag=True, help="Also remove old ones though no newer one was ever verified."
)
@with_common_options
def prune(settings: Settings, environment: str, dry_run: bool, unverified: bool) -> int:
    """Remove the backups of ENV that nobody needs any more, as every backup does by itself after it was made.

    What is kept: the newest of those that were verified, of each of the last days too; what is pinned, or needed by a
    release that is live or that one can roll back to; and everything for as long as nothing newer was verified.
    """
    from backstay.cli.backup import Shown, find_target
    from backstay.pipeline import prune as pruning
    from backstay.pipeline.document import backup_document

    target = find_target(settings, environment)
    progress = Progress(settings)
    keep = target.policy.keep_backups
    if dry_run:
        ports = wiring.backup.backup_look(target.where)
        gone = list(pruning.prunable(ports, target.app, environment, keep, unverified=unverified))
    else:
        store = target.store_here()
        try:
            tell = Shown(progress, settings).tell
            gone = pruning.prune(
                wiring.backup.backup_ports(store), target.app, environment, keep, tell, unverified=unverified
            )
        finally:
            store.close()
    if not dry_run:
        prune_replaced(target, progress)
    if settings.json:
        click.echo(json.dumps([backup_document(row) for row in gone]))
        return 0
    for row in gone if dry_run else ():
        progress.say(f"would go: {_line(row)}")
    progress.say(_summary(gone, dry_run))
    return 0


def prune_replaced(target: Target, progress: Progress) -> None:
    """Drop replaced databases whose time is over; a server that does not answer keeps nobody from his work."""
    from backstay.cli.replaced import admin_url
    from backstay.pipeline import replaced

    environment = target.settings
    if environment is None or environment.database is None:
        return
    try:
        ports = wiring.backup.replaced_ports(wiring.open_reader(target.where))
        replaced.prune_replaced(
            ports, environment, admin_url(environment), lambda kind, message: progress.say(message)
        )
    except (ConfigError, DatabaseError) as error:
        progress.say(f"replaced databases were not looked at: {error.message}")


@click.command(epilog="\b\nExamples:\n  backstay backup pin prod ID\n  backstay backup pin prod ID --off\n")
@click.argument("environment", metavar="ENV")
@click.argument("backup", metavar="ID")
@click.option("--off", is_flag=True, help="Let it go again when its time comes.")
@with_common_options
def pin(settings: Settings, environment: str, backup: str, off: bool) -> int:
    """Keep a backup of ENV whatever its age."""
    from backstay.cli.backup import find_target
    from backstay.pipeline.document import backup_document

    target = find_target(settings, environment)
    store = open_store(target.where)
    try:
        row = find_backup(store, target, backup)
        store.change_backup(row.id, pinned=not off)
        row = find_backup(store, target, backup)
    finally:
        store.close()
    if settings.json:
        click.echo(json.dumps(backup_document(row)))
    else:
        Progress(settings).say(f"{row.id} {'is pinned' if row.pinned else 'is not pinned'}")
    return 0


@click.command(epilog="\b\nExamples:\n  backstay backup copy prod\n  backstay backup copy prod --json\n")
@click.argument("environment", metavar="ENV")
@with_common_options
def copy(settings: Settings, environment: str) -> int:
    """Copy the backups of ENV that have no copy yet elsewhere, by the command `database.copy` of backstay.yml."""
    from backstay.cli.backup import Shown, ended_politely, find_target
    from backstay.pipeline.document import backup_document

    target = find_target(settings, environment)
    if target.settings is None or target.settings.database is None or target.settings.database.copy is None:
        raise ConfigError(
            "no command is configured that copies backups",
            hint="name one in backstay.yml: database: {copy: {command: [rclone, copy, '{path}', 'remote:{name}']}}",
        )
    progress = Progress(settings)
    store = target.store_here()
    try:
        with ended_politely(), progress:
            left = copy_pending(wiring.backup.backup_ports(store), target, Shown(progress, settings).tell)
    finally:
        store.close()
    if settings.json:
        click.echo(json.dumps([backup_document(row) for row in left]))
    return FAILED if left else 0


def copy_pending(ports: wiring.backup.BackupPorts, target: Target, tell: Teller) -> list[Backup]:
    """Copy what has no copy yet, where that is configured; what has none afterwards."""
    settings = target.settings
    if settings is None or settings.database is None or settings.database.copy is None:
        return []
    from backstay.pipeline.copy import Copying, copy_all

    secrets = wiring.secrets(settings).read()
    return copy_all(ports, Copying(target.app, settings.name, settings.database.copy, secrets), tell)


def find_backup(store: Store, target: Target, id_: str) -> Backup:
    """The catalog entry of a backup; UsageError when there is none."""
    found = [row for row in store.backups(target.app, target.environment) if row.id == id_]
    if not found:
        raise UsageError(
            f"there is no backup {id_!r} of {target.environment}",
            hint=f"backstay backup list {target.environment}",
        )
    return found[0]


def _line(row: Backup) -> str:
    size = f", {format_bytes(row.bytes)}" if row.state in WHOLE else ""
    return f"{row.id} ({row.state}{size})"


def _summary(gone: list[Backup], dry_run: bool) -> str:
    if not gone:
        return "nothing to remove"
    size = format_bytes(sum(row.bytes for row in gone))
    many = "1 backup" if len(gone) == 1 else f"{len(gone)} backups"
    return f"{many} {'would go' if dry_run else 'removed'}, {size}"
