"""Whether an unpacked physical backup is what the source server sent: pg_verifybackup, itself put to the test."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from backstay.adapters.postgres import manifest as manifests
from backstay.adapters.postgres.watch import TICK_S, Watch
from backstay.errors import DatabaseError
from backstay.ports.database import Damaged

LIST: Final = "backup_manifest"
MOST_CHECKERS: Final = 4
LARGE: Final = 1 << 20
"""Bytes. Smaller files are not worth sharing out: every checker reads them."""
MOST_SHARED: Final = 10_000
"""Files that are shared out at most, as each is named on a command line."""
_HEALTHY: Final = b"a page as it was"
_DAMAGED: Final = b"a page as it vas"


def verify(tool: str, folder: Path, dump: Path, watch: Watch | None = None) -> None:
    """Compare every file with the list that the source server made while it sent them, and parse the WAL. Several
    checkers share the large files. Damaged when something differs."""
    checkers = min(len(os.sched_getaffinity(0)), MOST_CHECKERS)
    common = [tool, "--quiet", "--exit-on-error"]
    lines = [
        [*common, *(["--no-parse-wal"] if n else []), *(f"--ignore={path}" for path in others), str(folder)]
        for n, others in enumerate(left_to_others(_files(folder), checkers))
    ]
    for status, said in checked(lines, watch):
        if status != 0:
            words = said.decode(errors="replace").strip().splitlines() or ["it said nothing"]
            reason = words[0].removeprefix("pg_verifybackup: error: ")
            raise Damaged(f"{dump.name} is damaged: {reason} (pg_verifybackup)", hint=manifests.CHANGED)


def left_to_others(files: Sequence[tuple[str, int]], checkers: int) -> list[list[str]]:
    """For each checker the files it need not read because exactly one other does; `files` are paths with sizes in
    bytes. Each takes the largest that is left when it has least to do, so all end at about the same time."""
    large = sorted((file for file in files if file[1] >= LARGE), key=lambda file: -file[1])[:MOST_SHARED]
    mine: list[set[str]] = [set() for _ in range(checkers)]
    work = [0] * checkers
    for path, size in large:
        n = work.index(min(work))
        mine[n].add(path)
        work[n] += size
    return [[path for path, _ in large if path not in own] for own in mine]


def _files(folder: Path) -> list[tuple[str, int]]:
    """Of the server's list. Nothing of one that cannot be read: the checker will say what is wrong with it."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        listed = json.loads((folder / LIST).read_bytes())["Files"]
        return [(str(file["Path"]), int(file["Size"])) for file in listed if "Path" in file]
    return []


def prove(tool: str) -> None:
    """Put the checker itself to the test: a tiny backup that is whole, and the same with one bit changed.

    Checkers have been seen to end well on damage; one that does must not vouch for a backup. DatabaseError.
    """
    with tempfile.TemporaryDirectory(prefix="backstay-") as name:
        file = Path(name) / "file"
        listed = {"Path": file.name, "Size": len(_HEALTHY), "Last-Modified": "2026-01-01 00:00:00 GMT"}
        listed |= {"Checksum-Algorithm": "SHA256", "Checksum": hashlib.sha256(_HEALTHY).hexdigest()}
        text = f'{{ "PostgreSQL-Backup-Manifest-Version": 1,\n"Files": [{json.dumps(listed)}],\n"WAL-Ranges": [],\n'
        seal = hashlib.sha256(text.encode()).hexdigest()
        (Path(name) / LIST).write_text(f'{text}"Manifest-Checksum": "{seal}"}}\n')
        argv = [tool, "--quiet", "--no-parse-wal", name]
        for content, is_good in ((_HEALTHY, True), (_DAMAGED, False)):
            file.write_bytes(content)
            [(status, said)] = checked([argv], None)
            if (status == 0) != is_good:
                lie = "calls a whole backup damaged" if is_good else "calls a damaged backup good"
                words = said.decode(errors="replace").strip()[:200]
                raise DatabaseError(
                    f"{tool} {lie}, so it proves nothing {f'({words})' if words else ''}".rstrip(),
                    hint="install PostgreSQL's client tools anew",
                )


def checked(lines: Sequence[Sequence[str]], watch: Watch | None) -> list[tuple[int, bytes]]:
    """Exit status and words of each, run beside each other."""
    with contextlib.ExitStack() as stack:
        said = [stack.enter_context(tempfile.TemporaryFile()) for _ in lines]
        running = [
            stack.enter_context(subprocess.Popen(argv, stdout=into, stderr=into, stdin=subprocess.DEVNULL))
            for argv, into in zip(lines, said, strict=True)
        ]
        try:
            for process in running:
                _wait(process, watch)
        except BaseException:
            for process in running:
                process.kill()
            raise
        for words in said:
            words.seek(0)
        return [
            (process.returncode, words.read(1 << 16)) for process, words in zip(running, said, strict=True)
        ]


def _wait(process: subprocess.Popen[bytes], watch: Watch | None) -> None:
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(TICK_S)
            return
        if watch is not None:
            watch.heed()
