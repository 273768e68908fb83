"""`backstay init --systemd`: units for this host."""

from __future__ import annotations

import getpass
import json
import shutil
import sys
from pathlib import Path

import click

from backstay import wiring
from backstay.cli.context import Project, project
from backstay.cli.options import Settings
from backstay.domain.objective import BACKUP_SHARE
from backstay.domain.systemd import filled, quoted, timer
from backstay.errors import UsageError


def units(settings: Settings, timers: bool, folder: Path | None) -> int:
    """Print the units for the application of backstay.yml, or write them into `folder`."""
    found = project(settings)
    files = _files(found, timers)
    if folder is not None:
        _write(folder, files)
    if settings.json:
        rows = [
            {"path": str(folder / name) if folder else name, "content": text} for name, text in files.items()
        ]
        click.echo(json.dumps({"files": rows}))
        return 0
    for name, text in files.items():
        click.echo(f"written    {folder / name}" if folder is not None else f"# ---- {name}\n{text}")
    if not settings.quiet:
        where = folder or "DIR"
        wanted = [name for name in files if "@." not in name]
        click.echo(f"next:      cp {where}/* /etc/systemd/system/ && systemctl daemon-reload", err=True)
        click.echo(f"           systemctl enable --now {' '.join(wanted)}", err=True)
    return 0


def _files(found: Project, timers: bool) -> dict[str, str]:
    words = {
        "APP": found.app,
        "BACKSTAY": quoted(_program()),
        "CONFIG": quoted([str(found.path.absolute())]),
        "HOME": quoted([str(found.where.home)]),
        "USER": getpass.getuser(),
    }
    names = ["backstay-recover.service"]
    names += ["backstay-backup@.service", "backstay-drill@.service"] if timers else ["backstay-serve.service"]
    files = {name: filled(wiring.init_template(f"systemd/{name}"), words) for name in names}
    return {**files, **(_timers(found) if timers else {})}


def _timers(found: Project) -> dict[str, str]:
    """A timer per environment with a database: for its schedule, and so that no backup gets older than its RPO."""
    template, files = wiring.init_template("systemd/timer"), {}
    for name in found.environments:
        environment = found.application(name).environment
        schedule = environment.schedule
        if environment.database is None:
            continue
        try:
            if schedule.backup is not None:
                what = f"Backstay backs {name} of {found.app} up"
                every_s = environment.policy.rpo_s * BACKUP_SHARE
                files[f"backstay-backup@{name}.timer"] = timer(template, what, schedule.backup, every_s)
            if schedule.restore_drill is not None:
                what = f"Backstay drills a recovery of {name} of {found.app}"
                files[f"backstay-drill@{name}.timer"] = timer(template, what, schedule.restore_drill)
        except ValueError as error:
            raise UsageError(
                f"environments.{name}.schedule has an expression for which there is no timer: {error}",
                hint="backstay serve understands it: init --systemd without --timers",
            ) from error
    return files


def _program() -> list[str]:
    """How this very Backstay is started."""
    own = Path(sys.executable).with_name("backstay")
    if own.is_file():
        return [str(own)]
    found = shutil.which("backstay")
    return [found] if found else [sys.executable, "-m", "backstay"]


def _write(folder: Path, files: dict[str, str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text)
    except OSError as error:
        raise UsageError(
            f"{error.filename} cannot be written: {error.strerror}",
            hint=f"{folder} must be a folder that you may write to",
            state="units written before this one stay",
        ) from error
