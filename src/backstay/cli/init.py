"""`backstay init`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from backstay import wiring
from backstay.cli.options import Settings, with_common_options
from backstay.errors import UsageError

EPILOG = """\b
Examples:
  backstay init                     a first backstay.yml in this folder
  backstay init --app shop
  backstay init --github            the scripts, below the root of the repository
  backstay init --systemd           units for this host, on standard output
  backstay init --systemd --timers --dir units
"""
SECRETS = ".secrets/"


@click.command(epilog=EPILOG)
@click.option("--app", metavar="NAME", help="Name of the application (default: from that of the folder).")
@click.option("--github", is_flag=True, help="Write the five scripts into .github/scripts instead.")
@click.option("--force", is_flag=True, help="With --github: replace scripts that are there and differ.")
@click.option(
    "--systemd", is_flag=True, help="Write units for this host instead: serve, and recovery after a boot."
)
@click.option(
    "--timers", is_flag=True, help="With --systemd: timers for backups and drills, in place of serve."
)
@click.option(
    "--dir",
    "folder",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="With --systemd: write files there instead of to standard output.",
)
@with_common_options
def command(
    settings: Settings,
    app: str | None,
    github: bool,
    force: bool,
    systemd: bool,
    timers: bool,
    folder: Path | None,
) -> int:
    """Write a first backstay.yml to fill in; with --github, the scripts that workflows call; with --systemd, units.

    A backstay.yml that is there already is never overwritten, and nothing is ever installed.
    """
    if systemd:
        from backstay.cli.units import units

        if github or app is not None or force:
            raise UsageError(
                "--systemd goes with --timers and --dir alone",
                hint="backstay init --systemd --timers --dir DIR writes units, and nothing else",
            )
        return units(settings, timers, folder)
    if timers or folder is not None:
        raise UsageError(
            "--timers and --dir go with --systemd",
            hint="backstay init --systemd --timers --dir DIR writes units",
        )
    if github and app is not None:
        raise UsageError(
            "--app has no meaning with --github", hint="the scripts are the same for every application"
        )
    if force and not github:
        raise UsageError(
            "--force is for the scripts of --github alone", hint="move backstay.yml aside to begin anew"
        )
    return _scripts(settings, force) if github else _config(settings, app)


def _config(settings: Settings, app: str | None) -> int:
    from backstay.config.locate import FILE_NAME
    from backstay.config.starter import guess_app, starter

    path = Path(settings.config or FILE_NAME).absolute()
    name = guess_app(path.parent.name) if app is None else app
    wiring.init_config(path, starter(wiring.init_template("backstay.yml"), name))
    following = [
        f"fill in {path.name}: images, ports and paths of {name}",
        f"write {SECRETS}dev.env (KEY=VALUE lines; chmod 600)",
    ]
    if not _is_ignored(path.parent / ".gitignore"):
        following.append(f"keep secrets out of git: echo '{SECRETS}' >>.gitignore")
    following.append("backstay config check")
    _say(settings, [{"path": str(path), "state": "written"}], following)
    return 0


def _scripts(settings: Settings, force: bool) -> int:
    root, fates = wiring.init_scripts(Path.cwd(), force=force)
    rows = [{"path": str(root / path), "state": fate.value} for path, fate in fates]
    _say(settings, rows, ["git add .github/scripts", "docs/github.md shows a workflow that calls them"])
    return 0


def _is_ignored(gitignore: Path) -> bool:
    try:
        lines = gitignore.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return any(line.strip("/") == SECRETS.strip("/") for line in lines)


def _say(settings: Settings, rows: list[dict[str, str]], following: list[str]) -> None:
    if settings.json:
        click.echo(json.dumps({"files": rows, "next": following}))
        return
    for row in rows:
        click.echo(f"{row['state']:<10} {row['path']}")
    if not settings.quiet:
        for number, line in enumerate(following):
            click.echo(f"{'next:' if number == 0 else '':<10} {line}", err=True)
