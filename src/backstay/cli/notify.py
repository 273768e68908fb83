"""`backstay notify`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backstay import wiring
from backstay.cli.annotate import annotate
from backstay.cli.context import Project, open_store, project
from backstay.cli.options import Filled, Settings, with_common_options
from backstay.domain.notification import Channel, Notification, SendState
from backstay.domain.secret import Secret, redact
from backstay.errors import ConfigError, SecretsError, UsageError

if TYPE_CHECKING:
    from backstay.ports.store import Store

EPILOG = """\b
Examples:
  backstay notify prod started all "Deployment initiated"
  backstay notify prod success backend "Backend updated"
  backstay notify prod failed frontend "Health check failed" --json

STATUS is started, success, failed or rollback; any other word is shown as it is.
"""
ATTEMPT_S = 5.0
"""How long each receiver has at once; whoever calls us waits for it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Whom to tell about an application, and where its state lies."""

    app: str
    where: wiring.Place
    channels: Sequence[Channel] = ()
    urls: Sequence[Secret] = ()
    secrets: Sequence[Secret] = ()


@click.command(epilog=EPILOG)
@click.argument("environment", metavar="ENV")
@click.argument("status", type=Filled())
@click.argument("component", type=Filled())
@click.argument("message", type=Filled())
@with_common_options
def command(settings: Settings, environment: str, status: str, component: str, message: str) -> int:
    """Tell people about ENV: in the log, as an annotation in GitHub Actions, and to every receiver of `notify:`.

    Exit status 0 once the message is recorded: a receiver that is down gets it later. Works without backstay.yml
    too, for the log and GitHub alone; BACKSTAY_APP then names the application.
    """
    from backstay.pipeline.document import notification_document

    place = place_of(settings, environment)
    status, component, message = (
        redact(text, (*place.secrets, *place.urls)) for text in (status, component, message)
    )
    store = open_store(place.where)
    ids = store.notify(place.app, environment, status, component, message, place.channels)
    annotated = annotate(settings, place.app, environment, status, component, message)
    rows = _send(store, place, ids)
    if settings.json:
        documents = [notification_document(row) for row in rows]
        click.echo(json.dumps({"ok": True, "annotated": annotated, "notifications": documents}))
    else:
        for row in rows:
            click.echo(f"{row.channel}: {outcome(row)}", err=True)
    return 0


def place_of(settings: Settings, environment: str | None = None) -> Place:
    """Whom to tell about ENV, or about every environment; without backstay.yml, what BACKSTAY_APP says.

    Raises ConfigError for a file that has a fault, UsageError for an environment it does not have.
    """
    try:
        found = project(settings, environment)
    except UsageError as error:
        if settings.config or not isinstance(error, ConfigError) or _has_file():
            raise
        return Place(os.environ.get("BACKSTAY_APP") or "app", wiring.place(os.environ))
    if environment is None:
        urls = dict.fromkeys(url for name in found.environments for url in found.receivers(name))
        return Place(found.app, found.where, urls=tuple(urls))
    return _configured(found, environment)


def outcome(row: Notification) -> str:
    """What became of a notification, for people."""
    match row.state:
        case SendState.SENT:
            return "told"
        case SendState.FAILED:
            return f"given up: {row.last_error}"
        case _:
            why = f": {row.last_error}" if row.last_error else " yet"
            return f"not told{why}; kept, the next deploy or `backstay notifications retry` tries again"


def _configured(found: Project, environment: str) -> Place:
    application = found.application(environment)
    try:
        secrets = tuple(wiring.secrets(application.environment).read().values())
    except SecretsError:
        secrets = ()
    channels = application.environment.channels
    return Place(found.app, found.where, channels, application.notify, secrets)


def _has_file() -> bool:
    from backstay.config import find

    try:
        find(Path.cwd())
    except ConfigError:
        return False
    return True


def _send(store: Store, place: Place, ids: Iterable[int]) -> list[Notification]:
    """Try our own rows once, and with receivers that answer what waited for them; how our own stand then."""
    from backstay.pipeline.notify import send_now

    own = set(ids)
    first = {row.target: row.id for row in store.notifications(place.app) if row.id in own}
    receivers = wiring.receivers(place.where, place.urls, ATTEMPT_S)
    send_now(store, receivers, place.app, ATTEMPT_S + 1, first)
    return [row for row in reversed(store.notifications(place.app)) if row.id in own]
