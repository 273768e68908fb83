"""`backstay config`."""

from __future__ import annotations

import json
import os

import click

from backstay.cli.context import config_path, outline_of
from backstay.cli.options import Settings, with_common_options
from backstay.config.problem import Problem, write_key


@click.group(name="config", epilog="\b\nExamples:\n  backstay config check\n  backstay config show prod\n")
def command() -> None:
    """Check, show or describe backstay.yml."""


@command.command(epilog="\b\nExample:\n  backstay config check\n")
@with_common_options
def check(settings: Settings) -> int:
    """Check the whole file; every fault is told with its line. Exit status 2 when there is an error."""
    from backstay.config import check as check_file

    path = config_path(settings)
    problems = check_file(path, os.environ)
    errors = [p for p in problems if p.severity == "error"]
    if settings.json:
        click.echo(json.dumps({"ok": not errors, "checks": [_as_check(p) for p in problems]}))
    else:
        for problem in problems:
            click.echo(str(problem), err=True)
        click.echo(f"{path}: " + (f"{len(errors)} error(s)" if errors else "ok"), err=True)
    return 2 if errors else 0


@command.command(epilog="\b\nExamples:\n  backstay config show prod\n")
@click.argument("environment", metavar="ENV")
@with_common_options
def show(settings: Settings, environment: str) -> int:
    """Show the effective configuration of ENV and where each value comes from."""
    from backstay.config import show as show_file

    path = config_path(settings)
    outline_of(path, environment)
    rows = show_file(path, environment, os.environ)
    if settings.json:
        click.echo(json.dumps([{"key": r.key, "value": r.value, "source": r.origin} for r in rows]))
        return 0
    for row in rows:
        click.echo(f"{row.key:<44} {row.value!s:<40} {row.origin}")
    return 0


@command.command(epilog="\b\nExample:\n  backstay config schema > backstay.schema.json\n")
@with_common_options
def schema(settings: Settings) -> int:
    """Print JSON Schema of backstay.yml, for editors."""
    from backstay.config import json_schema

    click.echo(json.dumps(json_schema(), indent=None if settings.json else 2))
    return 0


def _as_check(problem: Problem) -> dict[str, object]:
    return {
        "id": write_key(problem.key) or "file",
        "ok": problem.severity != "error",
        "severity": problem.severity.value,
        "detail": problem.message,
        "file": problem.file,
        "line": problem.position.line,
        "hint": None,
    }
