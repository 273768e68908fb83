"""Turning errors into what people read: what, why, what state was left, the next command."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import click

from backstay.cli.options import Settings
from backstay.cli.output import put
from backstay.errors import BackstayError


@contextmanager
def reporting(settings: Settings) -> Iterator[None]:
    """Report a BackstayError and leave with its exit status."""
    try:
        yield
    except BackstayError as error:
        if settings.json:
            put(json.dumps(as_document(error)))
        tell(error, settings)
        click.get_current_context().exit(error.exit_status)


def as_document(error: BackstayError) -> dict[str, object]:
    """The error as JSON, with the keys a deployment's document has, so that one reader fits both."""
    return {
        "ok": False,
        "deployment": None,
        "state": None,
        "failed_step": None,
        "reason": error.message,
        "hint": error.hint,
        "exit_status": error.exit_status,
    }


def tell(error: BackstayError, settings: Settings) -> None:
    """Print an error for people, on standard error."""
    red = settings.color and sys.stderr.isatty() and "NO_COLOR" not in os.environ
    put(
        click.style("error: ", fg="red", bold=True) + error.message if red else f"error: {error.message}",
        err=True,
    )
    if error.state:
        put(f"state: {error.state}", err=True)
    if error.hint:
        put(f"next:  {error.hint}", err=True)


def report(error: Exception) -> int:
    """Write the report of a bug and print its id; returns the exit status 1."""
    from backstay.config import state_home

    id_ = uuid4().hex[:8]
    home = state_home(os.environ)
    text = "".join(traceback.format_exception(error))
    where = _save(home / "reports" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{id_}.txt", text)
    put(f"error: internal error {id_} ({type(error).__name__})", err=True)
    put(f"next:  the report lies in {where}" if where else text, err=True)
    return 1


def _save(path: Path, text: str) -> Path | None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(text)
    except OSError:
        return None
    return path
