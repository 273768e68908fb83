"""`backstay backup restore`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from backstay import wiring
from backstay.cli.context import Project, project, secret_value
from backstay.cli.options import Settings, with_common_options
from backstay.cli.replaced import admin_url
from backstay.domain.backup import BackupKind
from backstay.errors import BackupFailed, UsageError

if TYPE_CHECKING:
    from backstay.domain.backup import Backup
    from backstay.domain.environment import Application, Environment
    from backstay.domain.secret import Secret
    from backstay.pipeline.restorable import Restorable

EPILOG = """\b
Examples:
  backstay backup restore prod ID --dry-run
  backstay backup restore prod ID --accept-loss 14
  backstay backup restore prod ID --version v2 --accept-loss 14
  backstay backup restore prod ID --target secret:SCRATCH_URL
  backstay backup restore prod --at 2026-11-23T14:05:30Z --accept-loss 14
"""
SECRET = "secret:"


@click.command(name="restore", epilog=EPILOG)
@click.argument("environment", metavar="ENV")
@click.argument("backup", metavar="[ID]", required=False)
@click.option(
    "--at", metavar="TIME", help="Instead of ID: as it was at this moment, such as 2026-11-23T14:05:30Z."
)
@click.option(
    "--target",
    metavar="URL",
    help="Restore into this empty database instead; secret:NAME takes the URL from the secrets of ENV.",
)
@click.option("--version", metavar="V", help="The release that goes with it (default: the live one).")
@click.option(
    "--accept-loss",
    type=click.IntRange(min=0),
    metavar="N",
    help="Go on if no more than N rows written since would change; counted exactly before anything is replaced.",
)
@click.option("--dry-run", is_flag=True, help="Compare and show what would happen; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_common_options
def command(
    settings: Settings,
    environment: str,
    backup: str | None,
    at: str | None,
    target: str | None,
    version: str | None,
    accept_loss: int | None,
    dry_run: bool,
    yes: bool,
) -> int:
    """Put backup ID, or the moment --at, in the place of the live database of ENV, or restore it elsewhere.

    It is restored beside the live one, compared, and swapped in while requests wait. What was live is kept. Rows that
    were written since are never lost without --accept-loss naming how many.
    """
    from backstay.pipeline.restorable import find_backup

    found = project(settings, environment)
    application = found.application(environment)
    into = None
    if target is not None:
        if version or accept_loss is not None or dry_run:
            raise UsageError(
                "--target goes with none of --version, --accept-loss and --dry-run",
                hint="leave them out: nothing that is live is touched",
            )
        into = _into(application.environment, target)
    if at is not None:
        from backstay.cli.moment import backup_at, parse_moment, show_reach

        if backup is not None:
            raise UsageError(
                "a backup was named, and a moment by --at too: it is one or the other",
                hint=f"backstay backup restore {environment} {backup} is that backup, --at {at} without it the moment",
            )
        moment = parse_moment(at)
        if dry_run:
            return show_reach(settings, found, application.environment, moment)
        row = backup_at(settings, found, application.environment, moment)
    elif backup is not None:
        row = find_backup(found.reader(), found.app, environment, backup)
        if row.kind is BackupKind.PHYSICAL and not dry_run:
            row = _extracted(settings, found, application.environment, row)
    else:
        raise UsageError("name a backup, or a moment by --at", hint=f"backstay backup list {environment}")
    if target is not None and into is not None:
        return _elsewhere(settings, found, application.environment, row, target, into)
    seen = _look(found, application.environment, row, accept_loss)
    if dry_run:
        return _show(settings, application, found, seen, version)
    if seen.refusal is not None:
        raise BackupFailed(seen.refusal.why, hint=seen.refusal.hint, state="nothing was changed")
    _confirm(settings, environment, seen, yes)
    return _begin(settings, found, application, row, version, accept_loss)


def _extracted(settings: Settings, found: Project, environment: Environment, backup: Backup) -> Backup:
    """The database out of a physical backup, as a logical one."""
    from backstay.cli.backup import Shown, ended_politely, order_of
    from backstay.cli.progress import Progress
    from backstay.pipeline.extract import ExtractOrder, as_logical
    from backstay.pipeline.verify import VerifyOrder

    source, limits = environment.database, environment.policy.backup_limits
    identity = source.identity_in(wiring.secrets(environment).read()) if source else None
    progress, store = Progress(settings), found.store()
    shown = Shown(progress, settings)
    verify = VerifyOrder(source.scratch if source else "auto", limits, identity, progress=shown.progress)
    order = ExtractOrder(verify, order_of(environment, backup.reason))
    try:
        with ended_politely(), progress:
            return as_logical(
                wiring.backup.verify_ports(store, found.where, environment), backup, order, shown.tell
            )
    finally:
        store.close()


def _begin(
    settings: Settings,
    found: Project,
    application: Application,
    backup: Backup,
    version: str | None,
    accept_loss: int | None,
) -> int:
    from backstay.cli.deploy import begin, new_id
    from backstay.cli.follow import follow
    from backstay.cli.interrupt import Interrupts
    from backstay.cli.launch import Prepared, wait_quietly
    from backstay.domain.plan import Restoration
    from backstay.pipeline.resolve import plan_restore

    environment = application.environment.name
    id_ = new_id()
    with Interrupts(environment) as interrupts:
        with Prepared(found.where, id_, application.notify) as worker:
            store = found.store()
            starting = worker.beginner(store)
            starting.recover(found.app, environment, lambda dead: wait_quietly(store, dead))
            plan = plan_restore(found.app, environment, Restoration(backup.id, accept_loss), version, store)
            interrupts.begin()
            begin(settings, starting, id_, found, application, plan)
        return follow(settings, store, id_, interrupts)


def _look(found: Project, environment: Environment, backup: Backup, accepted: int | None) -> Restorable:
    from backstay.pipeline.restorable import look

    live = admin_url(environment)
    ports = wiring.backup.backup_look(found.where)
    return look(ports, environment, backup, live, found.environments, accepted)


def _show(
    settings: Settings, application: Application, found: Project, seen: Restorable, version: str | None
) -> int:
    from backstay.cli.plan import planned_steps
    from backstay.domain.plan import Restoration
    from backstay.pipeline.resolve import plan_restore

    environment = application.environment.name
    plan = plan_restore(found.app, environment, Restoration(seen.backup.id), version, found.reader())
    document = {
        **seen.as_document(),
        "release": plan.release.version,
        "steps": planned_steps(application, plan),
    }
    if settings.json:
        click.echo(json.dumps(document))
    else:
        click.echo(
            f"restore {environment}: {seen.backup.id} of {seen.backup.created_at}, with {plan.release.version}"
        )
        if seen.least is not None:
            click.echo(f"  written since  at least {seen.least.rows} rows: {seen.least}")
        if seen.transactions is not None:
            click.echo(f"  transactions   at most {seen.transactions} since, of the whole server")
        click.echo("  steps          " + " → ".join(document["steps"]))
        if seen.refusal:
            click.echo(f"  REFUSED        {seen.refusal.why}\n  next           {seen.refusal.hint}")
    return 0 if seen.refusal is None else BackupFailed.exit_status


def _confirm(settings: Settings, environment: str, seen: Restorable, yes: bool) -> None:
    """Somebody at a terminal types the environment's name; a script has said all it had to."""
    if yes or settings.json or not sys.stdin.isatty():
        return
    rows = seen.least.rows if seen.least else 0
    click.echo(
        f"{seen.backup.id} of {seen.backup.created_at} takes the place of the live database of {environment}; at least "
        f"{rows} rows written since change. People wait meanwhile.",
        err=True,
    )
    if click.prompt(f"Type {environment} to go on", err=True, default="", show_default=False) != environment:
        raise UsageError("not confirmed", hint="nothing was changed")


def _into(environment: Environment, target: str) -> Secret:
    """The URL that --target names. UsageError when it can be none, before anything is begun."""
    from urllib.parse import urlsplit

    from backstay.domain.secret import Secret

    is_named = target.startswith(SECRET)
    url = secret_value(environment, target.removeprefix(SECRET)) if is_named else Secret(target)
    try:
        parts = urlsplit(url.reveal())
    except ValueError:
        parts = urlsplit("")
    if parts.scheme.partition("+")[0] not in ("postgresql", "postgres") or not parts.path.strip("/"):
        where = f"the secret {target.removeprefix(SECRET)}" if is_named else "--target"
        raise UsageError(
            f"{where} is no URL of a database",
            hint=f"write it as postgresql://USER:PASSWORD@HOST:PORT/NAME in {where}",
            state="nothing was changed",
        )
    return url


def _elsewhere(
    settings: Settings, found: Project, environment: Environment, backup: Backup, target: str, into: Secret
) -> int:
    from backstay.cli.backup import Shown, ended_politely
    from backstay.cli.progress import Progress
    from backstay.domain.duration import format_duration
    from backstay.pipeline.elsewhere import ElsewhereOrder, restore_elsewhere

    progress = Progress(settings)
    if "@" in target and ":" in target.partition("://")[2].partition("@")[0]:
        progress.say("who may list this host's processes sees the password in --target; secret:NAME hides it")
    with ended_politely(), progress:
        source = environment.database
        order = ElsewhereOrder(
            into,
            environment.policy.backup_limits,
            source.identity_in(wiring.secrets(environment).read()) if source else None,
            Shown(progress, settings).progress,
            named=f"the secret {target.removeprefix(SECRET)}" if target.startswith(SECRET) else "--target",
        )
        ports = wiring.backup.verify_ports(found.store(), found.where, environment)
        proof = restore_elsewhere(ports, backup, order)
    if settings.json:
        click.echo(json.dumps(proof.as_document()))
    else:
        took = format_duration(proof.took_s)
        progress.say(
            f"{backup.id} is restored and equal: {proof.tables} tables, {proof.rows} rows, {proof.checksums} checksums "
            f"compared, in {took}"
        )
        for note in proof.notes:
            progress.say(f"note: {note}")
    return 0
