"""`backstay show`."""

from __future__ import annotations

import json
from typing import Any

import click

from backstay import wiring
from backstay.cli.context import Project, project
from backstay.cli.options import Settings, with_common_options
from backstay.domain.deployment import Deployment
from backstay.domain.duration import format_duration
from backstay.domain.snapshot import Difference, differences
from backstay.errors import UsageError
from backstay.ports.store import Reader

NOW = "now"
SHOWN = ("deployment", "environment", "kind", "state", "previous", "release", "reason", "hint", "backup")
EPILOG = """\b
Examples:
  backstay show 20261123-101500-4f2a
  backstay show 20261123-101500-4f2a --snapshot         the full state before it changed anything
  backstay show 20261123-101500-4f2a --diff             what is different now
  backstay show 20261123-101500-4f2a --diff OTHER       what was different before another deployment
"""


@click.command(epilog=EPILOG)
@click.argument("deployment")
@click.option(
    "--snapshot", "whole", is_flag=True, help="Print the state recorded before anything was changed."
)
@click.option(
    "--diff",
    "against",
    is_flag=False,
    flag_value=NOW,
    metavar="[DEPLOYMENT]",
    help="Print what differs from that state now, or before another deployment.",
)
@with_common_options
def command(settings: Settings, deployment: str, whole: bool, against: str | None) -> int:
    """Show one deployment: its release, its steps, what became of it, and the state before it."""
    found = project(settings)
    reader = found.reader()
    seen = _deployment(reader, deployment)
    if against is not None:
        other = _now(found, seen.environment) if against == NOW else snapshot_of(reader, against)
        return _show_differences(settings, differences(snapshot_of(reader, deployment), other))
    if whole:
        click.echo(json.dumps(snapshot_of(reader, deployment), indent=None if settings.json else 2))
        return 0
    return _show(settings, reader, seen)


def _show(settings: Settings, reader: Reader, seen: Deployment) -> int:
    from backstay.pipeline.document import deployment_document

    document = deployment_document(seen, reader.steps(seen.id))
    release = reader.release(seen.release) if seen.release else None
    document["components"] = {n: c.reference for n, c in release.components.items()} if release else {}
    if settings.json:
        click.echo(json.dumps(document))
        return 0
    for key in SHOWN:
        if document[key] is not None:
            click.echo(f"{key:<12} {document[key]}")
    for name, reference in document["components"].items():
        click.echo(f"{name:<12} {reference}")
    for step in document["steps"]:
        took = format_duration(step["took_s"]) if step["took_s"] is not None else ""
        click.echo(f"  {step['name']:<14} {step['state']:<8} {took}")
    return 0


def snapshot_of(reader: Reader, deployment: str) -> dict[str, Any]:
    """The state recorded by a deployment. UsageError when there is none."""
    _deployment(reader, deployment)
    for step in reader.steps(deployment):
        if "snapshot" in step.result:
            return dict(step.result["snapshot"])
    raise UsageError(f"deployment {deployment} ended before it recorded the state", hint="it changed nothing")


def _deployment(reader: Reader, deployment: str) -> Deployment:
    found = reader.deployment(deployment)
    if found is None:
        raise UsageError(f"there is no deployment {deployment!r}", hint="backstay history ENV lists them")
    return found


def _now(found: Project, environment: str) -> dict[str, Any]:
    from backstay.pipeline.snapshot import snapshot

    settings = found.application(environment).environment
    fingerprints = {name: value.fingerprint() for name, value in wiring.secrets(settings).read().items()}
    return snapshot(wiring.look(found.where, found.app, environment), settings, fingerprints)


def _show_differences(settings: Settings, found: list[Difference]) -> int:
    if settings.json:
        click.echo(json.dumps([{"path": d.path, "before": d.before, "after": d.after} for d in found]))
        return 0
    for difference in found:
        click.echo(difference.path)
        click.echo(f"  - {_written(difference.before)}")
        click.echo(f"  + {_written(difference.after)}")
    if not found:
        click.echo("no difference", err=True)
    return 0


def _written(value: Any) -> str:
    return "(absent)" if value is None else json.dumps(value)
