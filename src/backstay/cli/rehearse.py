"""`backstay rehearse`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from backstay import wiring
from backstay.cli.context import Project, project
from backstay.cli.options import Settings, unused_option, with_common_options
from backstay.cli.progress import Progress
from backstay.domain.duration import format_duration
from backstay.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from backstay.domain.backup import Backup
    from backstay.domain.environment import Application
    from backstay.domain.plan import Plan
    from backstay.pipeline.rehearse import Rehearsal
    from backstay.pipeline.run import World
    from backstay.pipeline.trial import RehearsalOrder

REFUSED = 30
EPILOG = """\b
Examples:
  backstay rehearse prod --version v2
  backstay rehearse prod --version v2 --backup shop_prod_20260301_020000000
  backstay rehearse prod --version v2 --json
"""


@click.command(epilog=EPILOG)
@click.argument("environment", metavar="ENV")
@click.option("--version", required=True, help="Image tag to rehearse.")
@click.option("--component", "only", multiple=True, metavar="C", help="Only this component; repeatable.")
@click.option("--backup", metavar="ID", help="Rehearse on this backup, instead of on one that is made now.")
@unused_option
@with_common_options
def command(
    settings: Settings,
    environment: str,
    version: str,
    only: tuple[str, ...],
    backup: str | None,
    unused: tuple[str, ...],
) -> int:
    """Try VERSION on a copy of the database of ENV: migrate twice, boot the new release, then the old one.

    Touches nothing that serves, and needs no lease. Exit status 0 when it is compatible, 30 when it is breaking or
    failed.
    """
    from backstay.cli.backup import ended_politely
    from backstay.pipeline.rehearse import rehearse

    found = project(settings, environment)
    application = found.application(environment)
    if application.environment.database is None:
        raise ConfigError(
            f"{found.app} has no database, so there is nothing to rehearse on",
            hint="name it in backstay.yml: database: {url_secret: NAME_OF_THE_SECRET}",
        )
    plan = _plan(found, application, version, only, unused)
    progress = Progress(settings)
    world = wiring.world(found.where, application.environment, found.store())
    with ended_politely(), progress:
        shown = _Shown(progress, settings)
        chosen = _backup(world, application, backup, version, shown)
        rehearsal = rehearse(world, chosen, _order(world, application, plan), shown)
    document = {"environment": environment, "version": version, **rehearsal.as_document()}
    if settings.json:
        click.echo(json.dumps(document))
    else:
        _say(progress, rehearsal, environment, version)
    return 0 if rehearsal.judgement.rollback_is_safe else REFUSED


def _plan(
    found: Project, application: Application, version: str, only: tuple[str, ...], unused: tuple[str, ...]
) -> Plan:
    from backstay.cli.deploy import make_plan

    return make_plan(found, application, version, only, force=True, unused=unused)


def _backup(world: World, application: Application, id_: str | None, version: str, tell: _Shown) -> Backup:
    """The backup that was named, or one made now: the data as they are."""
    from backstay.pipeline.backup import back_up, order_of
    from backstay.pipeline.secret import needed

    environment = application.environment
    if id_ is not None:
        for each in world.store.backups(environment.app, environment.name):
            if each.id == id_:
                return each
        raise UsageError(
            f"there is no backup {id_!r} of {environment.name}",
            hint=f"backstay backup list {environment.name}",
        )
    assert environment.database is not None
    [url] = needed(environment, world.secrets.read(), [environment.database.backup_url_secret]).values()
    order = order_of(environment, url, f"to rehearse {version}")
    return back_up(world, order, world.store.record_backup, tell)


def _order(world: World, application: Application, plan: Plan) -> RehearsalOrder:
    from backstay.pipeline.rehearse import images_of
    from backstay.pipeline.secret import names_of, needed
    from backstay.pipeline.trial import RehearsalOrder

    environment = application.environment
    secrets = world.secrets.read()
    source = environment.database
    wanted = names_of(plan.release.components.values()) | ({source.url_secret} if source else set())
    needed(environment, secrets, wanted)
    login = wiring.registry_login(environment)
    previous = plan.previous
    return RehearsalOrder(
        environment=environment,
        release=plan.release,
        images=images_of(world.engine, plan.release, login),
        migrating=plan.migrating,
        previous=previous,
        previous_images=images_of(world.engine, previous, login) if previous else {},
        secrets=secrets,
        unused=plan.unused,
        identity=environment.database.identity_in(secrets) if environment.database else None,
    )


class _Shown:
    """What happens, for people."""

    def __init__(self, progress: Progress, settings: Settings) -> None:
        self._progress = progress
        self._quiet = settings.quiet
        self._verbose = settings.verbose

    def __call__(self, kind: str, message: str, **data: Any) -> None:
        if self._quiet:
            return
        mark = "✗" if data.get("ok") is False else "·"
        self._progress.say(f"{mark} {message}")
        for line in (*data.get("statements", ()), *data.get("output", ())) if self._verbose else ():
            self._progress.say(f"    | {line}")


def _say(progress: Progress, found: Rehearsal, environment: str, version: str) -> None:
    from backstay.pipeline.rehearse import way_out

    judged = found.judgement
    progress.say(f"{environment}: {version} is {judged.outlook} after {format_duration(found.took_s)}")
    for reason in judged.reasons:
        progress.say(f"why:     {reason}")
    for warning in judged.warnings:
        progress.say(f"warning: {warning}")
    for note in found.notes:
        progress.say(f"note:    {note}")
    progress.say(f"next:    {way_out(found, environment, version)}")
