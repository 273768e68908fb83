"""Turning errors into what people read: what, why, what state was left, the next command."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import click

from backstay.cli.interrupt import INTERRUPTED_STATUS, NOTHING_BEGUN
from backstay.cli.options import Settings
from backstay.cli.output import put, silence
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
    return _document(error.message, error.hint, error.exit_status)


def _document(reason: str, hint: str | None, exit_status: int) -> dict[str, object]:
    return {
        "ok": False,
        "deployment": None,
        "state": None,
        "failed_step": None,
        "reason": reason,
        "hint": hint,
        "exit_status": exit_status,
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


def wrong_line(error: click.ClickException, as_json: bool) -> int:
    """Tell of a line that click could not read; returns the exit status 2."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    asked = isinstance(error, click.exceptions.NoArgsIsHelpError)
    if as_json:
        reason = "no command was given" if asked else error.format_message()
        put(json.dumps(_document(reason, f"{ctx.command_path if ctx else 'backstay'} --help", 2)))
    with suppress(OSError):
        error.show()
    return 2


def interrupted(error: BaseException, as_json: bool) -> int:
    """Say so, and what was left, where who was interrupted gave that along; returns the exit status 130."""
    origin = error.__cause__ if isinstance(error.__cause__, KeyboardInterrupt) else error
    return _ended("; ".join(["interrupted", *map(str, origin.args)]), INTERRUPTED_STATUS, as_json)


def left(status: int, as_json: bool) -> int:
    """Say that a command was ended before it began anything; returns `status`."""
    return _ended(f"ended; {NOTHING_BEGUN}", status, as_json)


def _ended(what: str, status: int, as_json: bool) -> int:
    if as_json:
        put(json.dumps(_document(what, None, status)))
    put(what, err=True)
    return status


def unheard(error: OSError) -> int:
    """Say that standard output cannot be written; returns the exit status 1."""
    silence(sys.stdout.fileno())
    put(f"error: standard output cannot be written: {error.strerror}", err=True)
    put("next:  make room where it goes; what the command had done by then stays done", err=True)
    return 1


def report(error: Exception, as_json: bool = False) -> int:
    """Write the report of a bug and print its id; returns the exit status 1."""
    id_ = uuid4().hex[:8]
    where = _save(f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{id_}.txt", "".join(traceback.format_exception(error)))
    what = f"internal error {id_} ({type(error).__name__})"
    following = f"the report lies in {where}" if where else "nothing could be written: no report was kept"
    if as_json:
        put(json.dumps(_document(what, following, 1)))
    put(f"error: {what}", err=True)
    put(f"next:  {following}", err=True)
    return 1


def _save(name: str, text: str) -> Path | None:
    """Where the report lies: in the state folder, else among temporary files; None when it can be written nowhere."""
    for folder in (_reports, lambda: Path(tempfile.gettempdir())):
        try:
            path = folder() / name
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as out:
                out.write(text)
        except (OSError, RuntimeError):  # the latter: BACKSTAY_HOME=~NAME of a user who does not exist
            continue
        return path
    return None


def _reports() -> Path:
    from backstay.config import state_home

    folder = state_home(os.environ) / "reports"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
