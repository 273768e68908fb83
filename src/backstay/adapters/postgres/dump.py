"""A backup of one database: dump, globals and manifest, whole on the disk before any of them gets its name."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from backstay.adapters.postgres.connection import environment, password
from backstay.adapters.postgres.facts import ask_server
from backstay.adapters.postgres.files import Draft, Written, draft, make_folder, settle, sweep
from backstay.adapters.postgres.stream import Stream
from backstay.adapters.postgres.tools import ANSWER_S, find_compressor, find_tool_of, run, version
from backstay.domain.room import Reach
from backstay.domain.secret import Secret, redact
from backstay.errors import DatabaseError
from backstay.ports.database import Dump, DumpOrder

ARCHIVE_MARK: Final = b"PGDMP"
COMPRESSED, PLAIN = ".dump.zst", ".dump"
GLOBALS, MANIFEST = ".globals.sql", ".manifest.json"
MANIFEST_FORMAT: Final = 1


class PostgresTools:
    """Implements ports.database.Database."""

    def reach(self, url: Secret, role: str, deadline_s: float) -> Reach:
        from backstay.adapters.postgres.reach import reach

        return reach(url, role, deadline_s)

    def dump(self, order: DumpOrder) -> Dump:
        hidden = [order.url, password(order.url)]
        try:
            make_folder(order.folder)
            sweep(order.folder)
            with environment(order.url) as env:
                return _Backup(order, env).make()
        except DatabaseError as error:
            error.message = redact(error.message, hidden)
            error.args = (error.message,)
            raise
        except OSError as error:
            raise DatabaseError(
                f"cannot write {error.filename or order.folder}: {error.strerror or error}",
                hint=f"free space on the disk of {order.folder}, or mend the folder's owner and mode",
            ) from error

    def sweep(self, folder: Path) -> list[str]:
        return sweep(folder)

    def size_of(self, dump: Path) -> int | None:
        try:
            return dump.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise DatabaseError(f"cannot look at {dump}: {error.strerror}") from error

    def discard(self, dump: Path) -> None:
        name = _bare_name(dump)
        try:
            for path in (dump, dump.with_name(name + GLOBALS), dump.with_name(name + MANIFEST)):
                path.unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except OSError as error:
            raise DatabaseError(
                f"cannot remove {error.filename}: {error.strerror}", hint=f"rm {dump.parent}/{name}.*"
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
            text = json.dumps(self._manifest(files), indent=2, ensure_ascii=False)
            manifest.write(text.encode() + b"\n")
            manifest.seal()
            settle([dump, *([roles] if sealed else []), manifest])
        made = files["dump"]
        return Dump(made.path, made.bytes, made.sha256, tuple(self.notes))

    def _write_dump(self, into: Draft) -> Written:
        wait_ms = int(self.order.limits.lock_wait_s * 1000)
        # Custom format: pg_restore can pick from it, and says so when it is cut short. zstd's own frame carries
        # a checksum of the content, which no compression inside pg_dump but gzip does.
        argv = [self.pg_dump, "--format=custom", "--no-password", f"--lock-wait-timeout={wait_ms}"]
        commands = [argv]
        if self.zstd is not None:
            commands = [[*argv, "--compress=0"], [self.zstd, "-q", "-3", "-T0", "--check", "-c"]]
        order = self.order
        Stream(commands, self.env, self.facts.bytes, order.limits, order.stopped, order.tell).pour(into)
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
            "format": MANIFEST_FORMAT,
            "name": self.order.name,
            **self.order.about,
            "files": {
                role: {"name": file.path.name, "bytes": file.bytes, "sha256": file.sha256}
                for role, file in files.items()
            },
            "database": self.facts.as_json(),
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


def _bare_name(dump: Path) -> str:
    return dump.name.removesuffix(COMPRESSED).removesuffix(PLAIN)
