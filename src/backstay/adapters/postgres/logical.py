"""A logical backup: one database by `pg_dump`, in one stream through zstd."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from backstay.adapters.postgres.stream import Sink, Stream
from backstay.adapters.postgres.watch import Watch
from backstay.domain.backup import BackupLimits

ARCHIVE_MARK: Final = b"PGDMP"


def commands(pg_dump: str, zstd: str | None, limits: BackupLimits, snapshot: str | None) -> list[list[str]]:
    """The pipe. Custom format: pg_restore can pick from it, and says so when it is cut short. zstd's own frame
    carries a checksum of the content, which no compression inside pg_dump but gzip does."""
    wait_ms = int(limits.lock_wait_s * 1000)
    argv = [pg_dump, "--format=custom", "--no-password", f"--lock-wait-timeout={wait_ms}"]
    if snapshot is not None:
        argv.append(f"--snapshot={snapshot}")
    if zstd is None:
        return [argv]
    return [[*argv, "--compress=0"], [zstd, "-q", "-3", "-T0", "--check", "-c"]]


def pour(commands: Sequence[Sequence[str]], env: Mapping[str, str], into: Sink, watch: Watch) -> int | None:
    """Run the pipe to its end; bytes that pg_dump wrote, None where nobody counted."""
    stream = Stream(commands, env, watch)
    stream.pour(into)
    return stream.read


def begins_like_an_archive(path: Path, zstd: str | None) -> bool:
    with path.open("rb", buffering=0) as file:
        if zstd is None:
            return file.read(len(ARCHIVE_MARK)) == ARCHIVE_MARK
        unpack = subprocess.Popen(
            [zstd, "-q", "-dc"], stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        with unpack as process:
            assert process.stdout is not None
            try:
                return process.stdout.read(len(ARCHIVE_MARK)) == ARCHIVE_MARK
            finally:
                process.kill()
