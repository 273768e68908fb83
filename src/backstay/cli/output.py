"""Printing so that whoever stops listening does no harm: a cut connection, a closed terminal, a full disk.

A command that follows a deployment must see its end and know its status, whether or not anybody reads the lines.
"""

from __future__ import annotations

import os
import sys
import traceback

import click


def open_closed() -> None:
    """Let nothing come from, and all go nowhere by, a standard stream that was closed before we started: no file that
    is opened later may take its place."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def is_of_printing(error: OSError) -> bool:
    """Whether it came from writing to a standard stream, and not from a file of ours."""
    return any(frame.f_code is click.echo.__code__ for frame, _ in traceback.walk_tb(error.__traceback__))


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
