"""`backstay backup`."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backstay import wiring
from backstay.cli.context import database_url, open_store
from backstay.cli.options import Settings, with_common_options
from backstay.cli.progress import Progress
from backstay.cli.prune import copy, copy_pending, pin, prune, prune_replaced
from backstay.cli.replaced import command as replaced
from backstay.cli.restore import command as restore
from backstay.cli.verify import command as verify
from backstay.domain.backup import WHOLE, Backup, BackupKind, BackupProgress
from backstay.domain.duration import format_duration
from backstay.domain.size import format_bytes
from backstay.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from backstay.cli.context import Project
    from backstay.domain.environment import Environment
    from backstay.domain.policy import Policy
    from backstay.domain.secret import Secret
    from backstay.pipeline.backup import BackupOrder
    from backstay.ports.store import Store

APP_VARIABLE, URL_VARIABLE = "BACKSTAY_APP", "BACKSTAY_DATABASE_URL"
TOLD_EVERY_S = 5.0
UNASKED = frozenset({"backup_not_removed", "backup_not_copied", "backup_alarm", "backups_frozen"})
"""Told also to who wants quiet."""

NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


@dataclass(frozen=True)
class Target:
    """Whose backups, and where their catalog lies. `project` is None without a backstay.yml."""

    app: str
    environment: str
    where: wiring.Place
    project: Project | None

    @property
    def settings(self) -> Environment | None:
        return self.project.application(self.environment).environment if self.project else None

    @property
    def policy(self) -> Policy:
        from backstay.domain.policy import BUILT_IN, default_level

        return self.settings.policy if self.settings else BUILT_IN[default_level(self.environment)]

    def store_here(self) -> Store:
        """The store, for work on files of this host. UsageError when the environment lives on another one."""
        from backstay.pipeline.home import refuse_elsewhere

        store = open_store(self.where)
        refuse_elsewhere(store, wiring.host(), self.app, self.environment)
        return store


@click.group(
    name="backup",
    epilog="\b\nExamples:\n  backstay backup create prod\n  backstay backup list prod\n"
    "  backstay backup verify prod\n  backstay backup prune prod --dry-run\n"
    "  backstay backup restore prod ID --dry-run\n",
)
def command() -> None:
    """Back the database of an environment up; list, verify, pin, copy, prune and restore the backups there are."""


@command.command(
    epilog="\b\nExamples:\n  backstay backup create prod\n  backstay backup create prod --json\n"
)
@click.argument("environment", metavar="ENV")
@click.option("--reason", default="on demand", show_default=True, help="Why, for the list of backups.")
@with_common_options
def create(settings: Settings, environment: str, reason: str) -> int:
    """Back the database of ENV up now. Needs no lease, so it may run beside a deployment."""
    from backstay.pipeline.backup import back_up
    from backstay.pipeline.document import backup_document

    target = find_target(settings, environment)
    order = _order(target, reason)
    progress = Progress(settings)
    shown = Shown(progress, settings)
    if target.project is not None and os.environ.get(URL_VARIABLE):
        progress.say(f"the database URL is taken from {URL_VARIABLE}, not from {target.project.path}")
    store = target.store_here()
    try:
        with ended_politely(), progress:
            ports = wiring.backup.backup_ports(store)
            made = back_up(ports, order, store.record_backup, shown.tell, progress=shown.progress)
            copy_pending(ports, target, shown.tell)
        prune_replaced(target, progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("no file is left, nothing was changed") from None
    finally:
        store.close()
    if settings.json:
        click.echo(json.dumps(backup_document(made)))
    else:
        progress.say(made.path)
    return 0


@command.command(
    name="list", epilog="\b\nExamples:\n  backstay backup list prod\n  backstay backup list prod --json\n"
)
@click.argument("environment", metavar="ENV")
@with_common_options
def list_(settings: Settings, environment: str) -> int:
    """List the backups of ENV, newest first. One whose file is missing or cut short is shown as damaged."""
    from backstay.pipeline.document import backup_document
    from backstay.pipeline.home import elsewhere
    from backstay.pipeline.prune import as_they_are

    target = find_target(settings, environment)
    reader = wiring.open_reader(target.where)
    if elsewhere(reader, wiring.host(), target.app, environment):
        rows = reader.backups(target.app, environment)  # their files are not here to be looked at
    else:
        rows = as_they_are(reader, wiring.database(), target.app, environment)
    if settings.json:
        click.echo(json.dumps([backup_document(row) for row in rows]))
        return 0
    if not rows:
        click.echo(
            f"{environment} has no backup yet; backstay backup create {environment} makes one", err=True
        )
    for row in rows:
        size = format_bytes(row.bytes) if row.state in WHOLE else "-"
        click.echo(f"{row.created_at[:19]}Z  {row.id}  {row.state:<10} {size:>9}  {_remarks(row)}")
    return 0


command.add_command(restore)
command.add_command(replaced)
command.add_command(prune)
command.add_command(pin)
command.add_command(copy)


def _remarks(row: Backup) -> str:
    found = [row.reason]
    found += [row.kind.value] if row.kind is BackupKind.PHYSICAL else []
    found += ["pinned"] if row.pinned else []
    found += ["encrypted"] if row.encrypted else []
    found += [f"copied {row.copied_at[:10]}"] if row.copied_at else []
    found += [f"not copied: {row.copy_error}"] if row.copy_error else []
    found += [f"LOOK: {row.alarm}"] if row.alarm and row.state in WHOLE else []
    return "  ".join(found)


def find_target(settings: Settings, environment: str) -> Target:
    """From backstay.yml; without one, from BACKSTAY_APP and the name of the environment. Raises UsageError."""
    from backstay.cli.context import project
    from backstay.config import find

    if settings.config is None and os.environ.get(URL_VARIABLE, os.environ.get(APP_VARIABLE)) is not None:
        try:
            find(Path.cwd())
        except ConfigError:
            return _bare_target(environment)
    found = project(settings, environment)
    return Target(found.app, environment, found.where, found)


def _bare_target(environment: str) -> Target:
    app = os.environ.get(APP_VARIABLE) or "app"
    for what, name in ((APP_VARIABLE, app), ("ENV", environment)):
        # They become parts of file names.
        if NAME.fullmatch(name) is None:
            raise UsageError(
                f"{what} {name!r} is no name", hint="a name has lower-case letters, digits and -, at most 40"
            )
    return Target(app, environment, wiring.place(os.environ), None)


command.add_command(verify)


def order_of(environment: Environment, reason: str, url: Secret | None = None) -> BackupOrder:
    """A backup as the configuration wants it, of `url` if given. Raises ConfigError when it knows no database."""
    from backstay.pipeline.backup import order_of as ordered

    return ordered(environment, url or _configured_url(environment), reason)


def _order(target: Target, reason: str) -> BackupOrder:
    from backstay.domain.secret import Secret
    from backstay.pipeline.backup import BackupOrder

    given = os.environ.get(URL_VARIABLE)
    if (settings := target.settings) is not None:
        return order_of(settings, reason, Secret(given) if given else None)
    return BackupOrder(
        app=target.app,
        environment=target.environment,
        url=Secret(given) if given else _configured_url(None),
        folder=target.where.home / "backups" / target.environment,
        reason=reason,
        keep=target.policy.keep_backups,
        limits=target.policy.backup_limits,
    )


def _configured_url(environment: Environment | None) -> Secret:
    if environment is None:
        raise UsageError(
            "no database is known: there is no backstay.yml here",
            hint=f"set {URL_VARIABLE} to postgresql://USER:PASSWORD@HOST:PORT/NAME",
        )
    return database_url(environment, lambda database: database.backup_url_secret)


class Shown:
    """Events and progress of one backup, for people."""

    def __init__(self, progress: Progress, settings: Settings) -> None:
        self._progress = progress
        self._quiet = settings.quiet
        self._next_s = TOLD_EVERY_S

    def tell(self, kind: str, message: str, **data: Any) -> None:
        if not self._quiet or kind in UNASKED:
            took_s = data.get("took_s")
            self._progress.say(f"{message} in {format_duration(took_s)}" if took_s is not None else message)

    def progress(self, now: BackupProgress) -> None:
        """A live line where there is a terminal, else a line now and then."""
        if self._progress.status is not None:
            self._progress.status.update(str(now))
        elif not self._quiet and now.elapsed_s >= self._next_s:
            self._next_s = now.elapsed_s + TOLD_EVERY_S
            self._progress.say(str(now))


@contextmanager
def ended_politely() -> Iterator[None]:
    """A polite kill ends it as Ctrl-C does: the tools are stopped and their files removed.

    Also where Ctrl-C was switched off for us, as shells do for what they start in the background.
    """

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
