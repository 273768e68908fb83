"""`backstay attach`."""

from __future__ import annotations

import click

from backstay.cli.context import project
from backstay.cli.options import Settings, with_common_options
from backstay.errors import UsageError


@click.command(epilog="\b\nExample:\n  backstay attach prod\n")
@click.argument("environment", metavar="ENV")
@with_common_options
def command(settings: Settings, environment: str) -> int:
    """Follow the deployment that is under way in ENV, from its beginning; leaving does it no harm.

    Ends with the deployment's own exit status.
    """
    from backstay.cli.follow import follow
    from backstay.cli.interrupt import Interrupts
    from backstay.pipeline.left import unfinished

    found = project(settings, environment)
    active = unfinished(found.reader(), found.app, environment)
    if active is None:
        raise UsageError(f"nothing is under way in {environment}", hint=f"backstay history {environment}")
    with Interrupts(environment, begun=True) as interrupts:
        return follow(settings, found.store(), active.id, interrupts)
