"""A physical backup: all files of a server by `pg_basebackup`, and a data folder made of one again."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from backstay.adapters.postgres import manifest as manifests
from backstay.adapters.postgres.crypt import encrypt_file
from backstay.adapters.postgres.files import FolderDraft, Written
from backstay.adapters.postgres.proof import LIST, checked, prove, verify
from backstay.adapters.postgres.tools import ANSWER_S, failed, find_compressor, find_tool, find_tool_of, run
from backstay.adapters.postgres.unpacking import Unpacking, plain_bytes, written_by
from backstay.adapters.postgres.watch import TICK_S, Watch
from backstay.domain.secret import Secret
from backstay.domain.server import ServerFacts
from backstay.errors import DatabaseError
from backstay.ports.database import PagesDamaged

FILES, WAL = "base.tar.zst", "pg_wal.tar"
ROLES: Final = {"base": FILES, "wal": WAL, "list": LIST}
THREADED: Final = "server-zstd:level=1,workers=2"
PLAIN: Final = "server-zstd:level=1"
NO_THREADS: Final = "compression worker count"
FLUSH_EVERY_S: Final = 1.0
_DONE: Final = re.compile(rb"\s*(\d+)/(\d+) kB \(")
_CHUNK: Final = 1 << 20


def obstacle(facts: ServerFacts, env: Mapping[str, str]) -> str | None:
    """Why no physical backup can be made from here, beyond what the facts tell; None when one can."""
    try:
        find_tool_of("pg_basebackup", facts.server_major)
        find_tool_of("pg_verifybackup", facts.server_major)
        # Whether pg_hba.conf lets us in for that, only the server knows.
        run([find_tool("psql"), "-XAtqw", "-d", "replication=true", "-c", "IDENTIFY_SYSTEM"], env)
    except DatabaseError as error:
        return error.message
    return None


def take(into: FolderDraft, env: Mapping[str, str], facts: ServerFacts, name: str, watch: Watch) -> None:
    """Fill the folder. Raises DatabaseError; PagesDamaged when the server finds its own files damaged."""
    argv = [find_tool_of("pg_basebackup", facts.server_major), f"--pgdata={into.partial}", "--format=tar"]
    argv += ["--wal-method=stream", "--checkpoint=fast", "--no-password", "--progress"]
    # Synced by us, file by file, where each is read back anyway.
    argv += ["--no-sync", f"--label=backstay {name}"]
    with _flushed(into.partial / FILES):
        try:
            _run([*argv, f"--compress={THREADED}"], env, into.partial, watch)
        except DatabaseError as error:
            if NO_THREADS not in error.message:
                raise
            # The server's own zstd was built without them.
            _run([*argv, f"--compress={PLAIN}"], env, into.partial, watch)
    names = {path.name for path in into.partial.iterdir()}
    if names != {FILES, WAL, LIST}:
        raise DatabaseError(f"pg_basebackup ended well, but wrote {', '.join(sorted(names)) or 'nothing'}")


def seal(into: FolderDraft, recipients: Sequence[str], watch: Watch) -> dict[str, Written]:
    """Encrypt the files where that is wanted, and bring them to the disk; role of each to what lies there."""
    made = {}
    for role, name in ROLES.items():
        if role == "wal":
            name = _compressed(into.partial / name, watch)
        if recipients:
            name = encrypt_file(into.partial / name, recipients, watch.heed).name
        made[role] = into.seal(name)
    return made


def _compressed(path: Path, watch: Watch) -> str:
    """The server compresses no WAL that is streamed beside, and most of its last segment is empty."""
    zstd = find_compressor()
    if zstd is None:
        return path.name
    [(status, said)] = checked([[zstd, "-q", "-3", "-T0", "--check", "--rm", str(path)]], watch)
    if status != 0:
        raise failed("zstd", status, said)
    return f"{path.name}.zst"


def wal_range(into: FolderDraft) -> dict[str, Any]:
    """From where to where the WAL goes that the copy needs, in the words of the server's list."""
    try:
        [found] = json.loads((into.partial / LIST).read_bytes())["WAL-Ranges"]
        return {
            "timeline": int(found["Timeline"]),
            "start": str(found["Start-LSN"]),
            "end": str(found["End-LSN"]),
        }
    except (ValueError, KeyError, TypeError) as error:
        raise DatabaseError("pg_basebackup wrote no list that can be read", hint="try again") from error


@contextlib.contextmanager
def _flushed(path: Path) -> Iterator[None]:
    """Bring a growing file to the disk while it grows, so that little is left to be synced at its end."""
    done = threading.Event()

    def flush() -> None:
        while not done.wait(FLUSH_EVERY_S):
            with contextlib.suppress(OSError), path.open("rb") as file:
                os.fdatasync(file.fileno())

    thread = threading.Thread(target=flush, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _run(argv: Sequence[str], env: Mapping[str, str], folder: Path, watch: Watch) -> None:
    with subprocess.Popen(
        argv, env={**env}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        start_new_session=True,
    ) as tool:  # fmt: skip
        try:
            said = _listen(tool, folder, watch)
            tool.wait(ANSWER_S)
        except BaseException:
            # Its group: the part of it that receives the WAL is a process of its own.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(tool.pid, 9)
            raise
    if tool.returncode != 0:
        raise _failure(tool.returncode, said)


def _listen(tool: subprocess.Popen[bytes], folder: Path, watch: Watch) -> bytes:
    """What it said beside its progress, at the end of it."""
    assert tool.stderr is not None
    said, line, read = b"", b"", 0
    while True:
        if select.select([tool.stderr], [], [], TICK_S)[0]:
            data = os.read(tool.stderr.fileno(), _CHUNK)
            if not data:
                return said + line
            *lines, line = (line + data).replace(b"\r", b"\n").split(b"\n")
            for each in lines:
                if (done := _DONE.match(each)) is not None:
                    read, watch.expected = int(done[1]) * 1024, int(done[2]) * 1024
                else:
                    said = (said + each + b"\n")[-_CHUNK:]
        watch.look(_bytes_in(folder), read)


def _failure(status: int, said: bytes) -> DatabaseError:
    text = said.decode(errors="replace")
    # It also tells of what it does; what went wrong is called an error.
    faults = [
        line for line in said.splitlines() if b"error:" in line or b"FATAL:" in line or b"ERROR:" in line
    ]
    error = failed("pg_basebackup", status, b"\n".join(faults) or said)
    if "checksum error" in text or "checksum verification failed" in text:
        error = PagesDamaged(
            "the server's own files are damaged: pages with wrong checksums (pg_basebackup)",
            hint="look at the server's log for the files, and at its disk; older backups are kept from now on",
        )
    return error


def _bytes_in(folder: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(entry.stat().st_size for entry in os.scandir(folder))
    return 0


def unpack(dump: Path, into: Path, identity: Secret | None, watch: Watch, sha256: str | None) -> None:
    """Implements `ports.database.Database.unpack`."""
    with manifests.reading(dump):
        manifest = manifests.examine(dump, sha256)
        files = manifest["files"]
        if "base" not in files:
            raise DatabaseError(
                f"{dump.name} is a logical backup: it is restored into a database, not unpacked"
            )
        tool = find_tool_of("pg_verifybackup", int(manifest["database"]["server_major"]))
        prove(tool)
        _make_empty(into)
        try:
            _extract(dump.parent / files["base"]["name"], into, identity, watch)
            _extract(dump.parent / files["wal"]["name"], into / "pg_wal", identity, watch)
            (into / LIST).write_bytes(plain_bytes(dump.parent / files["list"]["name"], identity))
            verify(tool, into, dump, watch)
        except BaseException:
            shutil.rmtree(into, ignore_errors=True)
            raise


def _make_empty(into: Path) -> None:
    if into.exists() and any(into.iterdir()):
        raise DatabaseError(f"{into} is not empty", hint="name a folder that does not exist yet")
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    into.chmod(0o700)


def _extract(archive: Path, into: Path, identity: Secret | None, watch: Watch) -> None:
    argv = [
        "tar",
        "--extract",
        "--preserve-permissions",
        "--no-same-owner",
        f"--directory={into}",
        "--file=-",
    ]
    with (
        tempfile.TemporaryFile() as said,
        Unpacking(archive, identity, subprocess.PIPE) as unpacking,
        subprocess.Popen(argv, stdin=unpacking.output, stderr=said) as tar,
    ):
        unpacking.output.close()  # ours; or the first would never learn that the second died
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    tar.wait(TICK_S)
                    break
                watch.look(written_by(unpacking.process), None)
            unpacking.finish(lambda: None)
        except BaseException:
            tar.kill()
            raise
        if tar.returncode != 0:
            said.seek(0)
            raise failed("tar", tar.returncode, said.read(1 << 16))
