"""`backup restore --at`: a moment instead of a backup."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backstay import wiring
from backstay.cli.context import Project
from backstay.cli.options import Settings
from backstay.cli.progress import Progress
from backstay.domain.duration import format_duration
from backstay.errors import BackupFailed, ConfigError, UsageError

if TYPE_CHECKING:
    from backstay.domain.backup import Backup
    from backstay.domain.environment import Environment
    from backstay.domain.wal import Window


def parse_moment(text: str) -> datetime:
    """An aware time. Raises UsageError for one that is none, or does not say in which zone it is meant."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise UsageError(
            f"{text!r} is no moment", hint="write it like 2026-11-23T14:05:30Z, with the zone (Z is UTC)"
        )
    return at


def backup_at(settings: Settings, found: Project, environment: Environment, at: datetime) -> Backup:
    """A backup of what the database was at that moment, from a base backup and the WAL received since; it enters the
    catalog. Raises BackupFailed for a moment out of reach, naming the window."""
    from backstay.cli.backup import ended_politely
    from backstay.pipeline.pitr import PitrOrder, backup_as_of
    from backstay.ports.scratch import ScratchOrder

    folder, source = _folder(found, environment), environment.database
    assert source is not None
    store, progress = found.store(), Progress(settings)
    ports = wiring.drill.drill_ports(found.where, environment, store)
    name = f"{environment.app}-{environment.name}-{at:%Y%m%d%H%M%S%f}"
    scratch = ScratchOrder(environment.app, environment.name, name, 0, source.scratch)
    identity = source.identity_in(wiring.secrets(environment).read())
    order = PitrOrder(environment.app, environment.name, at, folder, scratch, identity, source.encrypt_to)
    with ended_politely(), progress:
        progress.say(f"bringing {environment.name} back as it was at {at.isoformat()}, in scratch …")
        ports.scratches.sweep(environment.app, environment.name)
        made = backup_as_of(ports, order, Path(environment.backups), environment.policy.backup_limits)
        progress.say(f"{made.id}: {made.reason} ({format_duration(made.took_s or 0.0)})")
    store.close()
    return made


def show_reach(settings: Settings, found: Project, environment: Environment, at: datetime) -> int:
    """What `--dry-run` says: whether the moment is within reach. Writes nothing."""
    from backstay.pipeline.pitr import reach
    from backstay.pipeline.times import rfc3339

    ports = wiring.backup.protection_ports(found.reader())
    window: Window = reach(ports, environment.app, environment.name, _folder(found, environment))
    spans = [{"from": rfc3339(first), "to": rfc3339(last)} for first, last in window.spans]
    within = window.holds(at)
    if settings.json:
        click.echo(json.dumps({"ok": within, "at": rfc3339(at), "window": spans}))
    else:
        shown = ", ".join(f"{span['from']} to {span['to']}" for span in spans) or "nothing"
        click.echo(f"{rfc3339(at)} is {'within' if within else 'out of'} reach: {shown} can be brought back")
    return 0 if within else BackupFailed.exit_status


def _folder(found: Project, environment: Environment) -> Path:
    folder = wiring.wal_folder(found.where, environment)
    if folder is None or environment.database is None:
        raise ConfigError(
            f"{environment.name} has no continuous protection, so it can go back to a backup only",
            hint=f"backstay backup list {environment.name}; database.continuous: true protects it from now on",
        )
    return folder
