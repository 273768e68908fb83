"""`pg_dump` in the custom format: `.partial`, fsync, hash, rename."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile

from backstay.adapters.postgres.connection import environment
from backstay.domain.room import Reach
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError
from backstay.ports.database import Dump

POLL_S = 0.1
NO_PROGRESS_S = 300.0
"""A dump whose file has not grown for this long is taken for hung."""

DEBIAN_BINARIES = Path("/usr/lib/postgresql")


class PostgresTools:
    """Implements ports.database.Database."""

    def reach(self, url: Secret, role: str, deadline_s: float) -> Reach:
        from backstay.adapters.postgres.reach import reach

        return reach(url, role, deadline_s)

    def dump(self, url: Secret, into: Path, stopped: Callable[[], bool]) -> Dump:
        partial = into.with_name(into.name + ".partial")
        try:
            into.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            partial.touch(mode=0o600)
            self._pg_dump(url, partial, stopped)
            digest, size = _hash_and_sync(partial)
            if size == 0:
                raise DatabaseError("pg_dump wrote an empty file")
            partial.rename(into)
            _sync_folder(into.parent)
        except OSError as error:
            raise DatabaseError(
                f"cannot write {into}: {error.strerror or error}", hint="free space or mend the folder's mode"
            ) from error
        finally:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                partial.unlink()
        return Dump(into, size, digest)

    def _pg_dump(self, url: Secret, into: Path, stopped: Callable[[], bool]) -> None:
        with environment(url) as env:
            argv = [find_tool("pg_dump"), "--format=custom", "--no-password", f"--file={into}"]
            with (
                TemporaryFile() as said,  # not a pipe: a talkative pg_dump would fill it and wait for ever
                subprocess.Popen(
                    argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said
                ) as process,
            ):
                try:
                    _watch(process, into, stopped)
                except BaseException:
                    process.kill()
                    raise
                said.seek(0)
                lines = said.read().decode(errors="replace").strip().splitlines()
            if process.returncode != 0:
                lines = lines or [f"exit status {process.returncode}"]
                raise DatabaseError(
                    f"pg_dump failed: {lines[0]}",
                    hint="is the database reachable from this host (listen_addresses, pg_hba.conf)?",
                )


def find_tool(name: str) -> str:
    """Path of a PostgreSQL tool: the newest Debian version, else the one on PATH. DatabaseError when missing."""
    versions = sorted(
        (p for p in DEBIAN_BINARIES.glob("*/bin") if p.parent.name.isdigit()),
        key=lambda p: int(p.parent.name),
        reverse=True,
    )
    for folder in versions:
        if (folder / name).exists():
            return str(folder / name)
    found = shutil.which(name)
    if found is None:
        raise DatabaseError(f"{name} is not installed", hint="apt-get install postgresql-client")
    return found


def _watch(process: subprocess.Popen[bytes], file: Path, stopped: Callable[[], bool]) -> None:
    """Wait for the end; DatabaseError when asked to stop or when the file stops growing for too long."""
    size, since = -1, time.monotonic()
    while process.poll() is None:
        if stopped():
            raise DatabaseError("the backup was stopped on request")
        now = file.stat().st_size if file.exists() else 0
        if now != size:
            size, since = now, time.monotonic()
        elif time.monotonic() - since > NO_PROGRESS_S:
            raise DatabaseError(
                f"pg_dump made no progress for {NO_PROGRESS_S:g} s", hint="is the database hung?"
            )
        time.sleep(POLL_S)


def _hash_and_sync(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
        return digest, os.fstat(file.fileno()).st_size


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
