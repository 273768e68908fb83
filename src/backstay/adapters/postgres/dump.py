"""A backup: what it consists of, its manifest beside it, whole on the disk before any of them gets its name."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from backstay.adapters.postgres import base, logical, properties
from backstay.adapters.postgres import manifest as manifests
from backstay.adapters.postgres.connection import conninfo, environment, is_of_this_machine
from backstay.adapters.postgres.crypt import SUFFIX as ENCRYPTED
from backstay.adapters.postgres.crypt import check_recipients, sink
from backstay.adapters.postgres.facts import ask_server
from backstay.adapters.postgres.files import (
    Draft,
    FolderDraft,
    Written,
    draft,
    folder_draft,
    make_folder,
    settle,
    sweep,
)
from backstay.adapters.postgres.manifest import BASE, COMPRESSED, GLOBALS, MANIFEST, PLAIN
from backstay.adapters.postgres.session import session
from backstay.adapters.postgres.snapshot import Snapshot
from backstay.adapters.postgres.tools import ANSWER_S, find_compressor, find_tool_of, run, version
from backstay.adapters.postgres.watch import TICK_S, Watch
from backstay.domain.backup import BackupKind, obstacle_to_physical
from backstay.domain.content import Content
from backstay.domain.server import ServerFacts
from backstay.domain.size import format_bytes
from backstay.errors import DatabaseError
from backstay.ports.database import Dump, DumpOrder

PING_EVERY_S: Final = 10.0
ROOM: Final = 1.5
"""So many times the size of the last backup must be free."""


def dump(order: DumpOrder) -> Dump:
    """Implements `ports.database.Database.dump`."""
    try:
        check_recipients(order.recipients)
        make_folder(order.folder)
        sweep(order.folder)
        _refuse_without_room(order)
        with environment(order.url) as env:
            return _Backup(order, env).make()
    except OSError as error:
        raise DatabaseError(
            f"cannot write {error.filename or order.folder}: {error.strerror or error}",
            hint=f"free space on the disk of {order.folder}, or mend the folder's owner and mode",
        ) from error


def _refuse_without_room(order: DumpOrder) -> None:
    wanted = int((order.expected_bytes or 0) * ROOM)
    free = shutil.disk_usage(order.folder).free
    if free < wanted:
        raise DatabaseError(
            f"only {format_bytes(free)} are free in {order.folder}, and the last backup has"
            f" {format_bytes(order.expected_bytes or 0)}: {format_bytes(wanted)} are wanted",
            hint="free space there, or let backups: name a folder on a larger disk",
        )


def choose(order: DumpOrder, facts: ServerFacts, env: Mapping[str, str]) -> tuple[BackupKind, str]:
    """The kind of backup to make, and why not a physical one. DatabaseError when a physical one is ordered in vain."""
    if order.kind is BackupKind.LOGICAL:
        return BackupKind.LOGICAL, ""
    is_ordered = order.kind is BackupKind.PHYSICAL
    why = obstacle_to_physical(facts, ordered=is_ordered) or base.obstacle(facts, env)
    if why is None:
        return BackupKind.PHYSICAL, ""
    if is_ordered:
        raise DatabaseError(
            f"a physical backup cannot be made: {why}",
            hint="database.backup: auto falls back to a logical one",
        )
    return BackupKind.LOGICAL, why


def on_same_disk(folder: Path, facts: ServerFacts, env: Mapping[str, str]) -> bool | None:
    """Whether the server's files are on the disk of `folder`. None where that cannot be seen, as in a container."""
    host = env.get("PGHOST", "")
    if host and not host.startswith("/") and not is_of_this_machine(host):
        return False
    if facts.data_directory is None or facts.system_identifier is None:
        return None
    try:
        control = Path(facts.data_directory) / "global" / "pg_control"
        with control.open("rb") as file:
            # The path is the server's own, which may live in a container: is this its file?
            if int.from_bytes(file.read(8), sys.byteorder) != int(facts.system_identifier):
                return None
        return control.stat().st_dev == folder.stat().st_dev
    except OSError:
        return None


class _Backup:
    """One backup in the making."""

    def __init__(self, order: DumpOrder, env: Mapping[str, str]) -> None:
        self.order = order
        self.env = env
        self.facts = ask_server(env)
        self.kind, self.why_logical = choose(order, self.facts, env)
        is_logical = self.kind is BackupKind.LOGICAL
        self.tool = find_tool_of("pg_dump" if is_logical else "pg_basebackup", self.facts.server_major)
        self.zstd = find_compressor()
        self.notes: list[str] = []
        self.content: Content | None = None
        self.read: int | None = None
        self.more: dict[str, Any] = {}
        self.watch = Watch(
            "backup",
            Path(self.tool).name,
            self.facts.bytes,
            order.limits,
            order.stopped,
            order.tell,
            order.expected_read,
        )

    def make(self) -> Dump:
        with contextlib.ExitStack() as stack:
            # The manifest's draft first: it is what claims the name.
            manifest = stack.enter_context(draft(self._path(MANIFEST)))
            roles = stack.enter_context(draft(self._path(GLOBALS + self._age)))
            whole = self._physical(stack) if self.kind is BackupKind.PHYSICAL else self._logical(stack)
            draft_, files = whole
            sealed = self._write_globals(roles)
            document = self._manifest(files | ({"globals": sealed} if sealed else {}))
            manifest.write(manifests.sealed(document))
            manifest.seal()
            settle([draft_, *([roles] if sealed else []), manifest])
        return Dump(
            path=draft_.target,
            bytes=sum(file.bytes for file in files.values()),
            sha256=manifests.digest_of(document),
            notes=tuple(self.notes),
            kind=self.kind,
            content=self.content,
            encrypted=bool(self.order.recipients),
            facts=self.facts,
            read=self.read,
            took_s=self.watch.elapsed_s,
            same_disk=on_same_disk(self.order.folder, self.facts, self.env),
        )

    @property
    def _age(self) -> str:
        return ENCRYPTED if self.order.recipients else ""

    def _path(self, suffix: str) -> Path:
        return self.order.folder / f"{self.order.name}{suffix}"

    def _logical(self, stack: contextlib.ExitStack) -> tuple[Draft | FolderDraft, dict[str, Written]]:
        if self.zstd is None:
            self.notes.append("zstd is not installed: pg_dump's own gzip was used, which takes longer")
        into = stack.enter_context(draft(self._path((COMPRESSED if self.zstd else PLAIN) + self._age)))
        found = self._properties()
        with self._snapshot() as snapshot:
            with sink(into, self.order.recipients) as out:
                commands = logical.commands(
                    self.tool, self.zstd, self.order.limits, snapshot.id if snapshot else None
                )
                self.read = logical.pour(commands, self.env, out, self.watch)
            sealed = into.seal()
            if not self.order.recipients and not logical.begins_like_an_archive(into.partial, self.zstd):
                raise DatabaseError(f"pg_dump ended well, but wrote no archive ({sealed.bytes} bytes)")
            self._take_content(snapshot)
        self.more = {"archive_bytes": self.read if self.zstd else None, **found}
        return into, {"dump": sealed}

    def _physical(self, stack: contextlib.ExitStack) -> tuple[Draft | FolderDraft, dict[str, Written]]:
        into = stack.enter_context(folder_draft(self._path(BASE)))
        with self._snapshot() as snapshot:
            base.take(into, self.env, self.facts, self.order.name, self.watch)
            self.more = {"wal": base.wal_range(into)}
            self._take_content(snapshot)
        self.read = self.watch.expected
        return into, base.seal(into, self.order.recipients, self.watch)

    def _properties(self) -> dict[str, Any]:
        """What pg_dump leaves out of one database. Its want costs a note, not the backup."""
        try:
            with session(self.env, ANSWER_S) as asked:
                found = properties.properties(asked, properties.own(asked))
        except DatabaseError as error:
            self.notes.append(f"without the settings of the database: {error.message}")
            return {}
        return {"properties": properties.written(found, self.order.recipients)}

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[Snapshot | None]:
        """What sees the same as the dump. A server that gives none (a pooler between) costs a note, not the backup."""
        opened = None
        if self.order.checksums:
            try:
                opened = Snapshot(self.env, self.order.limits, self.kind)
            except DatabaseError as error:
                self.notes.append(f"without fingerprints of the tables: {error.message}")
        with opened or contextlib.nullcontext():
            yield opened

    def _take_content(self, snapshot: Snapshot | None) -> None:
        """Wait for what is still counted when the dump is done. Its want costs a note, not the backup."""
        if snapshot is None:
            return
        try:
            self._await(snapshot)
            self.content = snapshot.content()
        except DatabaseError as error:
            if self.order.stopped():
                raise
            self.notes.append(f"without fingerprints of the tables: {error.message}")

    def _await(self, snapshot: Snapshot) -> None:
        """DatabaseError on request, at the deadline, and when the server answers nobody any more."""
        next_ping = time.monotonic() + PING_EVERY_S
        while not snapshot.is_taken:
            # One large table may take long, and shows nothing meanwhile.
            self.watch.look(snapshot.done, self.read, moved=time.monotonic())
            time.sleep(TICK_S)
            if time.monotonic() > next_ping:
                with session(self.env, ANSWER_S) as asked:
                    asked.rows("SELECT 1")
                next_ping = time.monotonic() + PING_EVERY_S

    def _write_globals(self, into: Draft) -> Written | None:
        """Roles and tablespaces, which no dump of one database has. Without the right to read them: a note."""
        try:
            argv = [find_tool_of("pg_dumpall", self.facts.server_major), "--globals-only"]
            argv += ["--no-role-passwords", "--no-password", f"--database={conninfo(self.facts.database)}"]
            argv += [f"--lock-wait-timeout={int(ANSWER_S * 1000)}"]
            text = run(argv, self.env).encode()
        except DatabaseError as error:
            self.notes.append(f"without globals: {error.message}")
            return None
        with sink(into, self.order.recipients) as out:
            out.write(text)
        return into.seal()

    def _manifest(self, files: Mapping[str, Written]) -> dict[str, Any]:
        folder = self.order.folder
        return {
            "format": manifests.FORMAT,
            "name": self.order.name,
            **self.order.about,
            "kind": self.kind.value,
            **({"why_logical": self.why_logical} if self.why_logical else {}),
            "files": {
                role: {"name": str(file.path.relative_to(folder)), "bytes": file.bytes, "sha256": file.sha256}
                for role, file in files.items()
            },
            **self.more,
            "encrypted_to": list(self.order.recipients),
            "database": self.facts.as_json(),
            "content": self.content.as_json() if self.content else None,
            "tools": {
                Path(self.tool).name: version(self.tool),
                "compressor": version(self.zstd) if self.zstd else "gzip inside pg_dump",
            },
            "restore": self._recipe(files),
            "notes": list(self.notes),
        }

    def _recipe(self, files: Mapping[str, Written]) -> str:
        """How to restore it by hand, with the distribution's tools."""
        decrypt = "age -d -i IDENTITY {} | " if self.order.recipients else ""
        if self.kind is BackupKind.PHYSICAL:
            name = f"{self.order.name}{BASE}/{base.FILES}{self._age}"
            steps = (decrypt + "zstd -dc | " if decrypt else "zstd -dc {} | ").format(name) + "tar -x -C DATA"
            return f"{steps}; likewise pg_wal.tar.zst into DATA/pg_wal; backup_manifest into DATA; pg_verifybackup DATA"
        unpack = (decrypt + "zstd -dc | ") if decrypt else ("zstd -dc {} | " if self.zstd else "<{} ")
        return unpack.format(files["dump"].path.name) + "pg_restore --exit-on-error --dbname=URL"
