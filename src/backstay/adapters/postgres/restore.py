"""Restore a logical dump into an empty database, by several connections where there is room to unpack it first."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from backstay.adapters.postgres.connection import environment
from backstay.adapters.postgres.facts import ask_server
from backstay.adapters.postgres.manifest import examine, reading
from backstay.adapters.postgres.session import Session, session
from backstay.adapters.postgres.tools import ANSWER_S, failed, find_compressor, find_tool_of
from backstay.domain.backup import BackupProgress
from backstay.errors import DatabaseError
from backstay.ports.database import NotEmpty, RestoreOrder

TICK_S: Final = 0.1
MOST_JOBS: Final = 8
LOOK_EVERY_S: Final = 1.0

HOLDS: Final = """
SELECT c.relkind::text || ' ' || n.nspname || '.' || c.relname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
    AND d.deptype = 'e') LIMIT 1"""


def restore(order: RestoreOrder) -> None:
    """Implements `ports.database.Database.restore`."""
    try:
        with reading(order.dump), environment(order.into) as env:
            _Restore(order, examine(order.dump, order.sha256), env).run()
    except OSError as error:
        raise DatabaseError(
            f"cannot unpack {order.dump}: {error.strerror or error}",
            hint=f"free space on its disk, or in {tempfile.gettempdir()}",
        ) from error


class _Restore:
    def __init__(self, order: RestoreOrder, manifest: Mapping[str, Any], env: Mapping[str, str]) -> None:
        if "dump" not in manifest["files"]:
            raise DatabaseError(
                f"{order.dump.name} is a physical backup: of the whole server, not of one database",
                hint="it becomes a server of its own (backstay backup verify does so)",
            )
        self.order = order
        self.manifest = manifest
        self.env = env
        self.facts = ask_server(env)
        self.began = time.monotonic()
        self._refuse_unfit()
        self.pg_restore = find_tool_of("pg_restore", self.facts.server_major)

    def run(self) -> None:
        if self.order.roles:
            self._make_roles()
        jobs = self.order.jobs or min(os.cpu_count() or 1, MOST_JOBS)
        argv = [self.pg_restore, "--exit-on-error", "--no-password", f"--dbname={self.facts.database}"]
        if not self.order.owners:
            argv += ["--no-owner", "--no-acl"]
        with self._archive(jobs) as (source, is_whole):
            if is_whole:
                # The file by its handle: its name is gone already, so nothing of it stays whatever happens to us.
                self._watched([*argv, f"--jobs={jobs}", f"/proc/self/fd/{source}"], None, (source,))
            else:
                self._watched(argv, source, ())
        if self.order.analyze:
            with session(self.env, self._left_s()) as asked:
                asked.rows("ANALYZE")

    def _refuse_unfit(self) -> None:
        major = int(self.manifest["database"]["server_major"])
        if self.facts.server_major < major:
            raise DatabaseError(
                f"the dump is of PostgreSQL {major}, the server at the target is {self.facts.server_major}",
                hint="restore into a server of the same or a later major version",
            )
        with session(self.env, ANSWER_S) as asked:
            found = asked.rows(HOLDS)
        if found:
            raise NotEmpty(
                f"the database {self.facts.database} is not empty: it holds {found[0][0].partition(' ')[2]}",
                hint="name a database that was just made",
            )

    def _make_roles(self) -> None:
        """The roles of the source that the target lacks, with their memberships. Tablespaces are not made."""
        file = self.manifest["files"].get("globals")
        if file is None:
            return
        text = self._plain(self.order.dump.parent / file["name"]).decode()
        lines = [
            line
            for line in text.splitlines()
            if line and not line.startswith(("--", "CREATE TABLESPACE", "\\"))
        ]
        there = {f'"{role}"' for role in self.facts.roles} | set(self.facts.roles)
        with session(self.env, ANSWER_S) as asked:
            for line in lines:
                words = line.rstrip(";").split()
                if words[:1] in (["CREATE"], ["ALTER"]) and words[1] == "ROLE" and words[2] in there:
                    continue
                with contextlib.suppress(DatabaseError):  # such as a grant of a role that is not ours to give
                    asked.rows(line)

    def _plain(self, path: Path) -> bytes:
        return path.read_bytes()

    @contextlib.contextmanager
    def _archive(self, jobs: int) -> Iterator[tuple[int, bool]]:
        """A handle of the dump as pg_restore reads it, and whether that is a file (which several may read) or a
        pipe."""
        if not self.order.dump.name.endswith(".zst"):
            with self.order.dump.open("rb") as file:
                yield file.fileno(), True
            return
        folder = self._room(jobs)
        with self.order.dump.open("rb") as packed, contextlib.ExitStack() as stack:
            target = stack.enter_context(tempfile.TemporaryFile(dir=folder)) if folder else subprocess.PIPE
            tool = stack.enter_context(self._unpacking(packed, target))
            if folder is None:
                assert tool.stdout is not None
                yield tool.stdout.fileno(), False
                tool.stdout.close()
            self._await(tool)
            if folder is not None:
                assert not isinstance(target, int)
                yield target.fileno(), True

    def _unpacking(self, packed: Any, target: Any) -> subprocess.Popen[bytes]:
        zstd = find_compressor()
        if zstd is None:
            raise DatabaseError("zstd is not installed", hint="apt-get install zstd")
        return subprocess.Popen([zstd, "-q", "-dc"], stdin=packed, stdout=target, stderr=subprocess.PIPE)

    def _await(self, tool: subprocess.Popen[bytes]) -> None:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                _, said = tool.communicate(timeout=TICK_S)
                break
            try:
                self._heed()
            except BaseException:
                tool.kill()
                raise
        if tool.returncode != 0:
            raise failed("zstd", tool.returncode, said)

    def _room(self, jobs: int) -> Path | None:
        """A folder with room for the unpacked dump; None where there is none, or nobody would gain from it."""
        size = int(self.manifest.get("archive_bytes") or 0)
        if jobs == 1 or not size:
            return None
        for folder in (self.order.dump.parent, Path(tempfile.gettempdir())):
            if os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > size * 1.1 + (1 << 26):
                return folder
        return None

    def _watched(self, argv: Sequence[str], source: int | None, handles: Sequence[int]) -> None:
        with (
            tempfile.TemporaryFile() as said,
            subprocess.Popen(
                argv, env=self.env, stdin=subprocess.DEVNULL if source is None else source, stdout=subprocess.DEVNULL,
                stderr=said, pass_fds=handles, start_new_session=True,
            ) as tool,
            _Growth(self.env) as growth,
        ):  # fmt: skip
            try:
                while tool.poll() is None:
                    time.sleep(TICK_S)
                    self._heed(growth)
            except BaseException:
                _kill_group(tool)
                raise
            if tool.returncode != 0:
                said.seek(0)
                raise failed("pg_restore", tool.returncode, said.read(1 << 20))

    def _heed(self, growth: _Growth | None = None) -> None:
        if self.order.stopped():
            raise DatabaseError("the restore was stopped on request")
        elapsed_s = time.monotonic() - self.began
        if growth is not None:
            self.order.tell(
                BackupProgress(growth.bytes, None, int(self.manifest["database"]["bytes"]), elapsed_s)
            )
            if growth.silent_s() > self.order.limits.stall_s:
                raise DatabaseError(
                    f"nothing changed in the target for {self.order.limits.stall_s:g} s",
                    hint="does that server hang? policy.backup_stall gives it more time",
                )
        self._left_s()

    def _left_s(self) -> float:
        left_s = self.order.limits.deadline_s - (time.monotonic() - self.began)
        if left_s <= 0:
            raise DatabaseError(
                f"the restore was not done after {self.order.limits.deadline_s:g} s",
                hint="policy.backup_deadline gives it more time",
            )
        return left_s


class _Growth:
    """Looks into the target from beside, as pg_restore says nothing while it works. As a
    context manager."""

    QUERY: Final = """
SELECT pg_database_size(current_database()), (SELECT count(*) FROM pg_class),
  (SELECT sum(blocks_done + tuples_done) FROM pg_stat_progress_create_index),
  (SELECT max(query_start) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid())"""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self._session: Session | None = None
        self._end = threading.Event()
        self._seen: object = None
        self._since = time.monotonic()
        self.bytes = 0
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Growth:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._session is not None:
            self._session.break_off()
        self._thread.join(ANSWER_S)

    def silent_s(self) -> float:
        return time.monotonic() - self._since

    def _look(self) -> None:
        while not self._end.wait(LOOK_EVERY_S):
            try:
                if self._session is None:
                    self._session = Session(self._env)
                seen = self._session.rows(self.QUERY)[0]
            except DatabaseError:
                self._session = None  # its silence counts as a standstill
                continue
            if seen != self._seen:
                self._seen, self._since, self.bytes = seen, time.monotonic(), int(seen[0])
        if self._session is not None:
            self._session.close()


def _kill_group(tool: subprocess.Popen[bytes]) -> None:
    """pg_restore with its helpers: a helper whose parent died would go on."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(tool.pid, 9)
