"""`backstay show`."""

from __future__ import annotations

import json

import click

from backstay.cli.context import project
from backstay.cli.options import Settings, with_common_options
from backstay.domain.duration import format_duration
from backstay.errors import UsageError


@click.command(epilog="\b\nExample:\n  backstay show 20261123-101500-4f2a\n")
@click.argument("deployment")
@with_common_options
def command(settings: Settings, deployment: str) -> int:
    """Show one deployment: its release, its steps, and what became of it."""
    from backstay.pipeline.document import deployment_document

    reader = project(settings).reader()
    found = reader.deployment(deployment)
    if found is None:
        raise UsageError(f"there is no deployment {deployment!r}", hint="backstay history ENV lists them")
    document = deployment_document(found, reader.steps(deployment))
    release = reader.release(found.release) if found.release else None
    document["components"] = {n: c.reference for n, c in release.components.items()} if release else {}
    if settings.json:
        click.echo(json.dumps(document))
        return 0
    for key in (
        "deployment",
        "environment",
        "kind",
        "state",
        "previous",
        "release",
        "reason",
        "hint",
        "backup",
    ):
        if document[key] is not None:
            click.echo(f"{key:<12} {document[key]}")
    for name, reference in document["components"].items():
        click.echo(f"{name:<12} {reference}")
    for step in document["steps"]:
        took = format_duration(step["took_s"]) if step["took_s"] is not None else ""
        click.echo(f"  {step['name']:<14} {step['state']:<8} {took}")
    return 0
