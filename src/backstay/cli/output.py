"""Printing so that whoever stops listening does no harm: a cut connection, a closed terminal, a full disk.

A command that follows a deployment must see its end and know its status, whether or not anybody reads the lines.
"""

from __future__ import annotations

import os
import sys

import click


def put(text: str, *, err: bool = False) -> None:
    """Print a line, on standard error with `err`; nothing from the moment on when it cannot be written any more."""
    try:
        click.echo(text, err=err)
    except OSError:
        silence(sys.stderr.fileno() if err else sys.stdout.fileno())


def silence(stream: int) -> None:
    """Let whatever is written to this file descriptor from now on, and what still waits to be, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(nowhere, stream)
    os.close(nowhere)
