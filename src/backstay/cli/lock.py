"""`backstay lock`."""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING, Any

import click

from backstay import wiring
from backstay.cli.context import Project, project
from backstay.cli.options import Settings, with_common_options
from backstay.domain.duration import format_duration, parse_duration
from backstay.domain.lease import LONGEST_LOCK_S
from backstay.errors import UsageError

if TYPE_CHECKING:
    from backstay.pipeline.lock import Locker

SHORTEST_LOCK_S = 1.0
LONGEST_PURPOSE = 200

ACQUIRE_EPILOG = """\b
Examples:
  backstay lock acquire prod
  backstay lock acquire prod --purpose "move the database" --for 2h
  backstay lock acquire prod --extend --for 30m
"""
RELEASE_EPILOG = """\b
Examples:
  backstay lock release prod
  backstay lock release prod --force     somebody else's
"""


@click.group(
    name="lock",
    epilog="\b\nExamples:\n  backstay lock acquire prod --for 2h\n  backstay lock release prod\n",
)
def command() -> None:
    """Lock an environment for maintenance, free it, or show who holds it."""


@command.command(epilog="\b\nExample:\n  backstay lock show prod\n")
@click.argument("environment", metavar="ENV")
@with_common_options
def show(settings: Settings, environment: str) -> int:
    """Show who holds ENV, for what, since and until when. Writes nothing."""
    from backstay.pipeline.lock import lock

    found = project(settings, environment)
    document = lock(found.reader(), found.app, environment)
    if settings.json:
        click.echo(json.dumps(document))
        return 0
    if document is None:
        click.echo(f"{environment} is not locked")
        return 0
    click.echo(f"{environment} is locked")
    _show(document)
    return 0


@command.command(epilog=ACQUIRE_EPILOG)
@click.argument("environment", metavar="ENV")
@click.option("--purpose", metavar="TEXT", help="What for; shown to everybody it keeps out.")
@click.option(
    "--for", "lasts", metavar="TIME", default="1h", show_default=True, help="How long, at most 168h."
)
@click.option("--extend", is_flag=True, help="Let a lock of your own last that long from now.")
@with_common_options
def acquire(settings: Settings, environment: str, purpose: str | None, lasts: str, extend: bool) -> int:
    """Lock ENV for maintenance: until the time is over or you release it, nobody deploys to it."""
    from backstay.pipeline.lock import lock_document

    lasts_s = _lasts_s(lasts)
    _check_purpose(purpose)
    found = project(settings, environment)
    locker = _locker(found)
    acquired = locker.acquire(found.app, environment, purpose, lasts_s, extend=extend)
    document = lock_document(acquired.lease, locker.store.now())
    if acquired.told:
        click.echo(acquired.told, err=True)
    if settings.json:
        click.echo(json.dumps(document))
    elif not settings.quiet:
        done = "stays locked, extended to" if acquired.extended else "is locked for"
        click.echo(f"{environment} {done} {format_duration(lasts_s)}")
        _show(document)
        click.echo(f"  free it   backstay lock release {environment}")
    return 0


@command.command(epilog=RELEASE_EPILOG)
@click.argument("environment", metavar="ENV")
@click.option("--force", is_flag=True, help="Free a manual lock of somebody else.")
@with_common_options
def release(settings: Settings, environment: str, force: bool) -> int:
    """Free ENV from a manual lock; the lock of a deployment ends with the deployment (see `abort`)."""
    from backstay.pipeline.lock import lock_document

    found = project(settings, environment)
    locker = _locker(found)
    freed = locker.release(found.app, environment, force=force)
    if settings.json:
        document = lock_document(freed, locker.store.now()) if freed else None
        click.echo(json.dumps({"released": document}))
    elif freed is None:
        click.echo(f"{environment} was not locked", err=True)
    else:
        click.echo(f"{environment} is free; it was locked by {freed.owner} for {freed.purpose}", err=True)
    return 0


def _locker(found: Project) -> Locker:
    from backstay.pipeline.lock import Locker

    return Locker(found.store(), wiring.host())


def _lasts_s(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--for: {error}", hint="for example --for 2h") from error
    if not SHORTEST_LOCK_S <= seconds <= LONGEST_LOCK_S:
        raise UsageError(
            f"--for {text}: a manual lock lasts from 1s to 168h, so that a forgotten one ends by itself",
            hint="--extend lets it last longer when it is still needed then",
        )
    return seconds


def _check_purpose(purpose: str | None) -> None:
    """One printable line: it is shown on other people's terminals."""
    if purpose is None:
        return
    odd = any(unicodedata.category(character).startswith("C") for character in purpose)
    if not purpose.strip() or odd or len(purpose) > LONGEST_PURPOSE:
        raise UsageError(
            f"--purpose must be one line of 1 to {LONGEST_PURPOSE} printable characters",
            hint='for example --purpose "move the database"',
        )


def _show(document: dict[str, Any]) -> None:
    click.echo(f"  by        {document['owner']}")
    click.echo(f"  for       {document['purpose']}")
    click.echo(f"  since     {document['acquired_at']}")
    renewed = "" if document["kind"] == "person" else "  (renewed while its process lives)"
    click.echo(f"  until     {document['expires_at']}{renewed}")
