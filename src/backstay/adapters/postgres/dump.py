"""A backup of one database: dump, globals and manifest, whole on the disk before any of them gets its name."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from backstay.adapters.postgres import manifest as manifests
from backstay.adapters.postgres.connection import environment
from backstay.adapters.postgres.facts import ask_server
from backstay.adapters.postgres.files import Draft, Written, draft, make_folder, settle, sweep
from backstay.adapters.postgres.manifest import COMPRESSED, GLOBALS, MANIFEST, PLAIN
from backstay.adapters.postgres.snapshot import Snapshot
from backstay.adapters.postgres.stream import TICK_S, Stream
from backstay.adapters.postgres.tools import ANSWER_S, find_compressor, find_tool_of, run, version
from backstay.domain.backup import BackupKind
from backstay.domain.content import Content
from backstay.errors import DatabaseError
from backstay.ports.database import Dump, DumpOrder

ARCHIVE_MARK: Final = b"PGDMP"


def dump(order: DumpOrder) -> Dump:
    """Implements `ports.database.Database.dump`."""
    try:
        make_folder(order.folder)
        sweep(order.folder)
        with environment(order.url) as env:
            return _Backup(order, env).make()
    except OSError as error:
        raise DatabaseError(
            f"cannot write {error.filename or order.folder}: {error.strerror or error}",
            hint=f"free space on the disk of {order.folder}, or mend the folder's owner and mode",
        ) from error


class _Backup:
    """One backup in the making."""

    def __init__(self, order: DumpOrder, env: Mapping[str, str]) -> None:
        self.order = order
        self.env = env
        self.zstd = find_compressor()
        self.facts = ask_server(env)
        self.pg_dump = find_tool_of("pg_dump", self.facts.server_major)
        self.notes: list[str] = []
        self.content: Content | None = None
        self.read: int | None = None
        self.began = time.monotonic()

    def make(self) -> Dump:
        folder, name = self.order.folder, self.order.name
        suffix = COMPRESSED if self.zstd else PLAIN
        if self.zstd is None:
            self.notes.append("zstd is not installed: pg_dump's own gzip was used, which takes longer")
        with contextlib.ExitStack() as stack:
            # The dump's draft first: it is what claims the name.
            dump, roles, manifest = (
                stack.enter_context(draft(folder / f"{name}{each}")) for each in (suffix, GLOBALS, MANIFEST)
            )
            files = {"dump": self._write_dump(dump)}
            if (sealed := self._write_globals(roles)) is not None:
                files["globals"] = sealed
            manifest.write(manifests.sealed(self._manifest(files)))
            manifest.seal()
            settle([dump, *([roles] if sealed else []), manifest])
        made = files["dump"]
        took_s = time.monotonic() - self.began
        return Dump(
            made.path, made.bytes, made.sha256, tuple(self.notes), content=self.content, facts=self.facts,
            read=self.read, took_s=took_s,
        )  # fmt: skip

    def _write_dump(self, into: Draft) -> Written:
        with contextlib.ExitStack() as stack:
            snapshot = self._snapshot(stack)
            sealed = self._pour(into, snapshot)
            if snapshot is not None:
                self._take_content(snapshot)
        return sealed

    def _snapshot(self, stack: contextlib.ExitStack) -> Snapshot | None:
        """What sees the same as the dump. A server that gives none (a pooler between) costs a note, not the backup."""
        if not self.order.checksums:
            return None
        try:
            return stack.enter_context(Snapshot(self.env, self.order.limits))
        except DatabaseError as error:
            self.notes.append(f"without fingerprints of the tables: {error.message}")
            return None

    def _take_content(self, snapshot: Snapshot) -> None:
        while not snapshot.is_taken:
            if self.order.stopped():
                raise DatabaseError("the backup was stopped on request")
            if time.monotonic() - self.began > self.order.limits.deadline_s:
                self.notes.append(
                    "without fingerprints of the tables: they took longer than policy.backup_deadline"
                )
                return
            time.sleep(TICK_S)
        try:
            self.content = snapshot.content()
        except DatabaseError as error:
            self.notes.append(f"without fingerprints of the tables: {error.message}")

    def _pour(self, into: Draft, snapshot: Snapshot | None) -> Written:
        wait_ms = int(self.order.limits.lock_wait_s * 1000)
        # Custom format: pg_restore can pick from it, and says so when it is cut short. zstd's own frame carries
        # a checksum of the content, which no compression inside pg_dump but gzip does.
        argv = [self.pg_dump, "--format=custom", "--no-password", f"--lock-wait-timeout={wait_ms}"]
        if snapshot is not None:
            argv.append(f"--snapshot={snapshot.id}")
        commands = [argv]
        if self.zstd is not None:
            commands = [[*argv, "--compress=0"], [self.zstd, "-q", "-3", "-T0", "--check", "-c"]]
        order = self.order
        stream = Stream(commands, self.env, self.facts.bytes, order.limits, order.stopped, order.tell)
        stream.pour(into)
        self.read = stream.read
        sealed = into.seal()
        if not _begins_like_an_archive(into.partial, self.zstd):
            raise DatabaseError(f"pg_dump ended well, but wrote no archive ({sealed.bytes} bytes)")
        return sealed

    def _write_globals(self, into: Draft) -> Written | None:
        """Roles and tablespaces, which no dump of one database has. Without the right to read them: a note."""
        try:
            argv = [find_tool_of("pg_dumpall", self.facts.server_major), "--globals-only"]
            argv += ["--no-role-passwords", "--no-password", f"--database={self.facts.database}"]
            argv += [f"--lock-wait-timeout={int(ANSWER_S * 1000)}"]
            into.write(run(argv, self.env).encode())
        except DatabaseError as error:
            self.notes.append(f"without globals: {error.message}")
            return None
        return into.seal()

    def _manifest(self, files: Mapping[str, Written]) -> dict[str, Any]:
        unpack = "zstd -dc {} | " if self.zstd else "<{} "
        return {
            "format": manifests.FORMAT,
            "name": self.order.name,
            **self.order.about,
            "kind": BackupKind.LOGICAL.value,
            "files": {
                role: {"name": file.path.name, "bytes": file.bytes, "sha256": file.sha256}
                for role, file in files.items()
            },
            "archive_bytes": self.read if self.zstd else None,
            "database": self.facts.as_json(),
            "content": self.content.as_json() if self.content else None,
            "tools": {
                "pg_dump": version(self.pg_dump),
                "compressor": version(self.zstd) if self.zstd else "gzip inside pg_dump",
            },
            "restore": unpack.format(files["dump"].path.name) + "pg_restore --exit-on-error --dbname=URL",
            "notes": list(self.notes),
        }


def _begins_like_an_archive(path: Path, zstd: str | None) -> bool:
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
