"""A copy of a backup elsewhere, by a command of the user's own choice: rclone, restic, scp …"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from backstay.adapters.postgres import manifest as manifests
from backstay.adapters.postgres.files import folder_draft
from backstay.adapters.postgres.watch import TICK_S
from backstay.domain.secret import redact
from backstay.errors import DatabaseError
from backstay.ports.database import CopyOrder

OURS: Final = ("BACKSTAY_", "PG")
"""Of our own environment the command does not get what begins so: it leads to the database."""

_SHOWN: Final = 2000


def copy(order: CopyOrder) -> None:
    """Implements `ports.database.Database.copy`."""
    name = manifests.bare_name(order.dump)
    with manifests.reading(order.dump), folder_draft(order.dump.with_name(f"{name}.copy")) as staged:
        _stage(order.dump, staged.partial)
        words = [
            word.replace("{path}", str(staged.partial)).replace("{name}", name) for word in order.command
        ]
        _run(words, order)


def _stage(dump: Path, into: Path) -> None:
    """All files of a dump in one folder, without copying a byte."""
    files = [manifests.manifest_path(dump)]
    files += [dump.parent / file["name"] for file in manifests.read_manifest(dump)["files"].values()]
    try:
        for file in files:
            target = into / file.relative_to(dump.parent)
            target.parent.mkdir(mode=0o700, exist_ok=True)
            os.link(file, target)
    except OSError as error:
        raise DatabaseError(f"cannot stage {dump.name} for its copy: {error.strerror}") from error


def _run(words: list[str], order: CopyOrder) -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
    env |= {key: value.reveal() for key, value in order.env.items()}
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                words, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            )
        except OSError as error:
            raise DatabaseError(
                f"{words[0]} cannot be run: {error.strerror}", hint="is it installed? database.copy names it"
            ) from error
        with process:
            try:
                _await(process, order)
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise
        if process.returncode != 0:
            said.seek(0, os.SEEK_END)
            said.seek(max(0, said.tell() - _SHOWN))
            raise _failure(Path(words[0]).name, process.returncode, said.read(), order)


def _await(process: subprocess.Popen[bytes], order: CopyOrder) -> None:
    until = time.monotonic() + order.deadline_s
    while process.poll() is None:
        if order.stopped():
            raise DatabaseError("the copy was stopped on request")
        if time.monotonic() > until:
            raise DatabaseError(
                f"the copy was not done after {order.deadline_s:g} s",
                hint="database.copy.deadline gives it more time",
            )
        time.sleep(TICK_S)


def _failure(name: str, status: int, said: bytes, order: CopyOrder) -> DatabaseError:
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    ending = f"was killed by signal {-status}" if status < 0 else f"exit status {status}"
    words = redact(lines[-1] if lines else "it said nothing", list(order.env.values()))
    hint = "the backup itself is whole, where it was made"
    return DatabaseError(f"{name} failed ({ending}): {words}", hint=hint)
