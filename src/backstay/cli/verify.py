"""`backstay backup verify`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from backstay import wiring
from backstay.cli.options import Settings, with_common_options
from backstay.cli.progress import Progress
from backstay.domain.backup import WHOLE, Backup, newest_whole
from backstay.domain.duration import format_duration
from backstay.errors import UsageError

if TYPE_CHECKING:
    from backstay.cli.backup import Target
    from backstay.domain.verification import Verification
    from backstay.pipeline.verify import VerifyOrder

FAILED = 30
EPILOG = """\b
Examples:
  backstay backup verify prod
  backstay backup verify prod shop_prod_20260301_020000000
  backstay backup verify prod --all --json
"""


@click.command(name="verify", epilog=EPILOG)
@click.argument("environment", metavar="ENV")
@click.argument("backup", metavar="[ID]", required=False)
@click.option("--all", "every", is_flag=True, help="Every backup that is there, the newest first.")
@with_common_options
def command(settings: Settings, environment: str, backup: str | None, every: bool) -> int:
    """Restore a backup of ENV (the newest, if none is named) into a scratch server, compare all rows with what was
    dumped, and throw the copy away. Needs no lease. Exit status 30 when one is not what it must be."""
    from backstay.cli.backup import ended_politely, find_target

    if backup is not None and every:
        raise UsageError(
            "a backup was named, and --all asked for too: it is one or the other",
            hint=f"backstay backup verify {environment} {backup}",
        )
    target = find_target(settings, environment)
    progress = Progress(settings)
    order = _order(target, progress)
    store = target.store_here()
    ports = wiring.backup.verify_ports(store, target.where, target.settings)
    with ended_politely(), progress:
        from backstay.pipeline.verify import verify

        found = []
        for each in _chosen(store.backups(target.app, environment), environment, backup, every):
            found.append(verify(ports, each, order))
            if not settings.json:
                _say(progress, found[-1])
    if settings.json:
        documents = [each.as_document() for each in found]
        click.echo(json.dumps(documents if every else documents[0]))
    return 0 if all(each.ok for each in found) else FAILED


def _order(target: Target, progress: Progress) -> VerifyOrder:
    from backstay.pipeline.verify import VerifyOrder

    settings = target.settings
    where = settings.database.scratch if settings and settings.database else "auto"

    def told(now: object) -> None:
        if progress.status is not None:
            progress.status.update(str(now))

    identity = None
    if settings and settings.database and settings.database.identity_secret:
        identity = settings.database.identity_in(wiring.secrets(settings).read())
    return VerifyOrder(where, target.policy.backup_limits, identity, progress=told)


def _chosen(backups: list[Backup], environment: str, id_: str | None, every: bool) -> list[Backup]:
    listed = f"backstay backup list {environment}"
    if id_ is not None:
        found = [each for each in backups if each.id == id_]
        if not found:
            raise UsageError(f"there is no backup {id_!r} of {environment}", hint=listed)
        return found
    whole = [each for each in backups if each.state in WHOLE]
    newest = newest_whole(whole)
    if newest is None:
        raise UsageError(
            f"{environment} has no backup to verify", hint=f"backstay backup create {environment}"
        )
    # Damaged ones too: a disk that is mounted again makes them whole.
    return [each for each in backups if each.path] if every else [newest]


def _say(progress: Progress, found: Verification) -> None:
    if found.ok:
        progress.say(
            f"✓ {found.backup} verified: {found.tables} tables, {found.rows} rows, {found.checksums} checksums"
            f" compared in {format_duration(found.took_s)}"
        )
    else:
        progress.say(f"✗ {found.backup} {found.state}: {found.reason}")
        for line in found.differences[1:]:
            progress.say(f"    {line}")
    for note in found.notes:
        progress.say(f"    {note}")
