"""`backstay drill`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from backstay import wiring
from backstay.cli.context import Project, project
from backstay.cli.drill_rollback import rollback
from backstay.cli.options import Settings, with_common_options
from backstay.cli.progress import Progress
from backstay.domain.drill import Drill, DrillKind
from backstay.domain.duration import format_duration
from backstay.errors import ConfigError

if TYPE_CHECKING:
    from backstay.domain.environment import Application
    from backstay.pipeline.drill import RestoreDrill
    from backstay.ports.store import Store

FAILED = 30


EPILOG = """\b
Examples:
  backstay drill restore prod
  backstay drill rollback uat
  backstay drill list prod
"""


@click.group(name="drill", epilog=EPILOG)
def command() -> None:
    """Recover or roll back on purpose, measure how long it takes and what would be lost, and keep the evidence."""


@command.command(
    epilog="\b\nExamples:\n  backstay drill restore prod\n  backstay drill restore prod --json\n"
    "  backstay drill restore prod --backup shop_prod_20260301_020000000\n"
)
@click.argument("environment", metavar="ENV")
@click.option("--backup", metavar="ID", help="This backup, instead of the newest data there is.")
@with_common_options
def restore(settings: Settings, environment: str, backup: str | None) -> int:
    """Bring the newest data of ENV into a scratch server, boot the live release on it, ask it the smoke tests, and
    measure against the objectives. Touches nothing that serves.

    Exit status 30 when any part of it fails: data too old, damaged, not booting, or slower than the RTO.
    """
    from backstay.cli.backup import ended_politely
    from backstay.pipeline.drill import drill_restore

    found = project(settings, environment)
    application = found.application(environment)
    if application.environment.database is None:
        raise ConfigError(
            f"{found.app} has no database, so there is nothing to restore",
            hint="name it in backstay.yml: database: {url_secret: NAME_OF_THE_SECRET}",
        )
    progress, store = Progress(settings), found.store()
    ports = wiring.drill.drill_ports(found.where, application.environment, store)

    def tell(kind: str, message: str, **data: Any) -> None:
        if not settings.quiet:
            mark = {True: "✓", False: "✗"}.get(data["ok"], "·") if "ok" in data else "·"
            progress.say(f"{mark} {message}")

    with ended_politely(), progress:
        order = _order(found, application, store, backup)
        drill = drill_restore(ports, order, tell)
    return finish(settings, found, store, drill, FAILED)


@command.command(name="list", epilog="\b\nExample:\n  backstay drill list prod --json\n")
@click.argument("environment", metavar="ENV")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many drills.")
@with_common_options
def list_(settings: Settings, environment: str, limit: int) -> int:
    """List the drills of ENV, newest first; writes nothing."""
    from backstay.pipeline.drill import as_document

    found = project(settings, environment)
    drills = found.reader().drills(found.app, environment, limit=limit)
    if settings.json:
        click.echo(json.dumps([as_document(d, drills[n:]) for n, d in enumerate(drills)]))
        return 0
    if not drills:
        click.echo(
            f"{environment} has had no drill yet; backstay drill restore {environment} is one", err=True
        )
    for drill in drills:
        click.echo(
            f"{drill.began_at[:19]}Z  {drill.kind:<8} {'good' if drill.ok else 'FAILED':<6} {_measured(drill)}"
        )
        if not drill.ok:
            click.echo(f"    {drill.summary}")
    return 0


command.add_command(rollback)


def finish(settings: Settings, found: Project, store: Store, drill: Drill, failed: int) -> int:
    """Keep the evidence of a drill, show it, and return the exit status."""
    from backstay.pipeline.drill import as_document

    history = store.drills(drill.app, drill.environment, drill.kind)
    name = f"{drill.kind}-{drill.began_at[:19].replace(':', '').replace('-', '')}.json"
    drill = replace(drill, path=str(found.where.home / "drills" / drill.environment / name))
    text = json.dumps(as_document(drill, history), indent=2) + "\n"
    wiring.drill.keep_evidence(found.where, drill.environment, name, text)
    drill = store.record_drill(drill)
    if settings.json:
        click.echo(json.dumps(as_document(drill, history)))
    else:
        progress = Progress(settings)
        ended = "went well" if drill.ok else "FAILED"
        progress.say(f"{drill.environment}: the {drill.kind} drill {ended}: {_measured(drill)}")
        if not drill.ok:
            progress.say(f"why:     {drill.summary}")
        progress.say(f"proof:   {drill.path}")
    return 0 if drill.ok else failed


def _order(found: Project, application: Application, store: Store, backup: str | None) -> RestoreDrill:
    from backstay.pipeline.drill import RestoreDrill
    from backstay.pipeline.rehearse import images_of
    from backstay.pipeline.secret import names_of, needed

    environment = application.environment
    serving = store.slots(found.app, environment.name).serving
    release = store.release(serving.release) if serving is not None else None
    secrets = wiring.secrets(environment).read()
    wanted = names_of(release.components.values() if release else ())
    if environment.database is not None:
        wanted.add(environment.database.url_secret)
    needed(environment, secrets, wanted)
    engine = wiring.engine(found.where, environment)
    me = wiring.host().owner()
    return RestoreDrill(
        environment=environment,
        release=release,
        images=images_of(engine, release, wiring.registry_login(environment)) if release is not None else {},
        secrets=secrets,
        requested_by=f"{me.name}@{me.host}",
        folder=wiring.wal_folder(found.where, environment),
        backup=backup,
        identity=environment.database.identity_in(secrets) if environment.database else None,
    )


def _measured(drill: Drill) -> str:
    said = []
    if drill.rto_s is not None:
        target = f" of {format_duration(drill.rto_target_s)}" if drill.rto_target_s else ""
        what = "recovered" if drill.kind is DrillKind.RESTORE else "back"
        said.append(f"{what} in {format_duration(drill.rto_s)}{target}")
    if drill.rpo_s is not None and drill.rpo_target_s is not None:
        said.append(f"would lose {format_duration(drill.rpo_s)} of {format_duration(drill.rpo_target_s)}")
    return ", ".join(said) or "nothing was measured"
