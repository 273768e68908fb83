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
    click.echo(version(as_json=settings.json))
    return 0


def version(*, as_json: bool) -> str:
    """The version, as it is printed."""
    return json.dumps({"version": __version__}) if as_json else f"backstay {__version__}"
