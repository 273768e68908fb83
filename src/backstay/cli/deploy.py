"""`backstay deploy`."""

from __future__ import annotations

import json
import secrets as random_source
from dataclasses import replace
from datetime import UTC, datetime

import click

from backstay import wiring
from backstay.cli.annotate import annotate_deployment
from backstay.cli.context import Project, project
from backstay.cli.options import Settings, unused_option, with_common_options
from backstay.cli.output import put
from backstay.domain.environment import Application
from backstay.domain.plan import Plan
from backstay.pipeline.begin import Beginner

EPILOG = """\b
Examples:
  backstay deploy dev --version v2
  backstay deploy prod --version v2 --component backend
  backstay deploy prod --version v2 --dry-run
  backstay deploy prod --version v2 --wait switched
  backstay deploy prod --version v7 --maintenance
  backstay deploy prod --version v9 --unused orders.fax
"""


@click.command(epilog=EPILOG)
@click.argument("environment", metavar="ENV")
@click.option("--version", required=True, help="Image tag to deploy; pinned to digests.")
@click.option(
    "--component", "only", multiple=True, metavar="C", help="Deploy only this component; repeatable."
)
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing.")
@click.option("--detach", is_flag=True, help="Return once a worker holds the lease.")
@click.option(
    "--wait",
    type=click.Choice(["switched", "baked"]),
    default="baked",
    show_default=True,
    help="Return once traffic moved, or after the bake.",
)
@click.option("--force", is_flag=True, help="Deploy a release that was reversed automatically before.")
@click.option(
    "--maintenance",
    is_flag=True,
    help="Allow a migration that the old release cannot live with: requests wait while it runs.",
)
@unused_option
@with_common_options
def command(
    settings: Settings,
    environment: str,
    version: str,
    only: tuple[str, ...],
    dry_run: bool,
    detach: bool,
    wait: str,
    force: bool,
    maintenance: bool,
    unused: tuple[str, ...],
) -> int:
    """Make VERSION live in ENV: checked, backed up, switched atomically, watched, reversed when it turns bad.

    A detached worker does the work; this command follows it and may be killed without harm.
    """
    found = project(settings, environment)
    application = found.application(environment)
    if dry_run:
        from backstay.cli.plan import show_plan

        plan = make_plan(found, application, version, only, force, maintenance, unused)
        return show_plan(settings, application, plan)
    from backstay.cli.follow import follow
    from backstay.cli.interrupt import Interrupts
    from backstay.cli.launch import Prepared, wait_quietly

    id_ = new_id()
    with Interrupts(environment) as interrupts:
        with Prepared(found.where, id_, application.notify) as worker:
            store = found.store()
            starting = worker.beginner(store)
            starting.recover(found.app, environment, lambda dead: wait_quietly(store, dead))
            plan = make_plan(found, application, version, only, force, maintenance, unused)
            interrupts.begin()
            begin(settings, starting, id_, found, application, plan)
        if detach and not interrupts.wanted:
            return say_detached(settings, id_, environment)
        return follow(settings, store, id_, interrupts, until_switched=wait == "switched")


def make_plan(
    found: Project,
    application: Application,
    version: str,
    only: tuple[str, ...],
    force: bool,
    maintenance: bool = False,
    unused: tuple[str, ...] = (),
) -> Plan:
    """The plan of a deploy; writes nothing and pulls nothing."""
    from backstay.pipeline.resolve import plan_deploy

    digest_of = wiring.digest_of(found.where, application.environment)
    plan = plan_deploy(application, version, only, force, found.reader(), digest_of)
    return replace(plan, maintenance=maintenance, unused=unused)


def new_id() -> str:
    """An id for a deployment: its time in UTC, and four random digits."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{random_source.token_hex(2)}"


def begin(
    settings: Settings, starting: Beginner, id_: str, found: Project, application: Application, plan: Plan
) -> None:
    """Record the deployment and hand it to its worker."""
    from backstay.pipeline.record import as_record

    environment = application.environment
    fingerprints = {name: value.fingerprint() for name, value in wiring.secrets(environment).read().items()}
    record = as_record(plan, random_source.token_hex(16), str(found.path), fingerprints)
    annotate_deployment(settings, starting.start(id_, plan, environment, record))


def say_detached(settings: Settings, id_: str, environment: str) -> int:
    """The last word of `--detach`."""
    if settings.json:
        put(json.dumps({"deployment": id_, "environment": environment, "state": "running"}))
    else:
        put(f"{id_} is under way; backstay attach {environment} follows it", err=True)
    return 0
