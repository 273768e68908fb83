"""`backstay check`."""

from __future__ import annotations

import json
import os
import secrets as random_source
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from backstay import wiring
from backstay.cli.context import Project, project
from backstay.cli.options import Settings, with_common_options
from backstay.domain.check import CheckResult, Severity, failing
from backstay.domain.duration import format_duration
from backstay.domain.environment import Application

if TYPE_CHECKING:
    from backstay.pipeline.checks import Subject
    from backstay.pipeline.checks.subject import Wanted
    from backstay.ports.store import Reader

EPILOG = """\b
Examples:
  backstay check prod
  backstay check prod --version v2
  backstay check prod --version v2 --json
"""
FAILED = 10


@click.command(epilog=EPILOG)
@click.argument("environment", metavar="ENV")
@click.option("--version", help="Image tag that is to be deployed (default: what is live).")
@with_common_options
def command(settings: Settings, environment: str, version: str | None) -> int:
    """Look at all that a deploy to ENV will need, at once, and change nothing. Exit status 10 when a check fails."""
    from backstay.pipeline.check import run_checks
    from backstay.pipeline.checks import checks_of

    found = project(settings, environment)
    application = found.application(environment)
    subject = subject_of(found, application, version)
    began = time.monotonic()
    results = run_checks(checks_of(subject), subject.clock, subject.redact)
    document = _document(application, version, results, time.monotonic() - began)
    if settings.json:
        click.echo(json.dumps(document))
    else:
        _show(settings, document)
    return 0 if document["ok"] else FAILED


def subject_of(found: Project, application: Application, version: str | None) -> Subject:
    """What `check` looks at: the environment as configured, and `version` or what is live."""
    from backstay.pipeline.checks import Subject

    environment = application.environment
    reader = found.reader()
    return Subject(
        environment=environment,
        components=application.components,
        images=_images(application, version, reader),
        id=random_source.token_hex(4),
        store=reader,
        engine=wiring.engine(found.where, environment),
        router=wiring.router(found.where, environment.app, environment.name),
        database=wiring.database(),
        read_secrets=wiring.secrets(environment).read,
        host=wiring.host(),
        clock=wiring.clock(),
        home=str(found.where.home),
        scratches=wiring.scratches(found.where, environment),
    )


def _images(application: Application, version: str | None, reader: Reader) -> dict[str, Wanted]:
    """What to look for: `version` of every component, else the digests that are live; nothing when nothing is."""
    from dataclasses import replace

    from backstay.pipeline.checks.subject import Wanted
    from backstay.pipeline.resolve import live_release

    if version is not None:
        return {
            name: Wanted(replace(component, version=version), version)
            for name, component in application.components.items()
        }
    live = live_release(reader, reader.slots(application.environment.app, application.environment.name))
    if live is None:
        return {}
    return {
        name: Wanted(component, component.digest, component.digest)
        for name, component in live.components.items()
        if name in application.components
    }


def _document(
    application: Application, version: str | None, results: list[CheckResult], took_s: float
) -> dict[str, Any]:
    policy = application.environment.policy
    bad = {result.id for result in failing(results, policy.checks, policy.accept)}
    return {
        "ok": not bad,
        "environment": application.environment.name,
        "version": version,
        "policy": policy.checks.value,
        "took_s": took_s,
        "checks": [
            {
                "id": result.id,
                "ok": result.ok,
                "severity": str(result.severity),
                "detail": result.detail,
                "hint": result.hint,
                "took_s": result.took_s,
                "fails": result.id in bad,
            }
            for result in results
        ],
    }


def _show(settings: Settings, document: dict[str, Any]) -> None:
    colour = settings.color and sys.stdout.isatty() and "NO_COLOR" not in os.environ
    width = max(len(check["id"]) for check in document["checks"])
    for check in document["checks"]:
        if settings.quiet and not check["fails"]:
            continue
        mark, hue = _mark(check)
        shown = click.style(mark, fg=hue, bold=True) if colour else mark
        click.echo(f"  {shown} {check['id']:<{width}}  {check['detail']}")
        if check["hint"] and mark != "✓":
            click.echo(f"    {'':<{width}}  next: {check['hint']}")
    failed = sum(check["fails"] for check in document["checks"])
    end = f"{failed} of {len(document['checks'])} checks failed" if failed else "ready to deploy"
    click.echo(
        f"{document['environment']}: {end} ({document['policy']} checks, {format_duration(document['took_s'])}); "
        "nothing was changed"
    )


def _mark(check: dict[str, Any]) -> tuple[str, str]:
    """✗ stops a deploy, ! is a warning that does not, · a notice, ✓ all is well."""
    if check["fails"]:
        return "✗", "red"
    if not check["ok"]:
        return "!", "yellow"
    return ("·", "cyan") if check["severity"] == Severity.NOTICE else ("✓", "green")
