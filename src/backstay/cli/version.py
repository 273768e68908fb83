"""`backstay version`."""

from __future__ import annotations

import json

import click

from backstay import __version__
from backstay.cli.options import Settings, with_common_options


@click.command(epilog="\b\nExamples:\n  backstay version\n  backstay version --json\n")
@with_common_options
def command(settings: Settings) -> int:
    """Print the version."""
    click.echo(json.dumps({"version": __version__}) if settings.json else f"backstay {__version__}")
    return 0
