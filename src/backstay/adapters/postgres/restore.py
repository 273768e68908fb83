"""Restore a logical dump into an empty database, by several connections where there is room to unpack it first."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from backstay.adapters.postgres.beside import quoted
from backstay.adapters.postgres.connection import conninfo, environment
from backstay.adapters.postgres.facts import ask_server
from backstay.adapters.postgres.manifest import examine, reading
from backstay.adapters.postgres.properties import Properties, give, own, read
from backstay.adapters.postgres.session import Session, session, unlimited
from backstay.adapters.postgres.tools import ANSWER_S, failed, find_tool_of
from backstay.adapters.postgres.unpacking import Unpacking, plain_bytes, written_by
from backstay.adapters.postgres.watch import TICK_S, Watch
from backstay.errors import DatabaseError
from backstay.ports.database import NotEmpty, RestoreOrder

MOST_JOBS: Final = 8
LOOK_EVERY_S: Final = 1.0

HOLDS: Final = """
SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') LIMIT 1"""

FASTER: Final = "-c synchronous_commit=off -c maintenance_work_mem=128MB"
"""For the sessions that restore. What is not on the disk yet when the server dies is not switched to either."""

_PLACES: Final = """
SELECT CASE WHEN r.rolsuper THEN -1 ELSE limit_ END, used FROM pg_roles r, LATERAL (
  SELECT d.datconnlimit, (SELECT count(*) FROM pg_stat_activity a WHERE a.datid = d.oid AND a.usesysid IS NOT NULL)
    FROM pg_database d WHERE d.datname = current_database()
  UNION ALL SELECT r.rolconnlimit, (SELECT count(*) FROM pg_stat_activity a WHERE a.usesysid = r.oid)
) AS limits(limit_, used) WHERE r.rolname = session_user"""
"""How many sessions the database and the role may have (-1: any number), and have with this one."""


def most_jobs(wanted: int, places: Sequence[tuple[int, int]]) -> int:
    """So many connections may restore. `places`: each limit of sessions (-1: none), and how many there are, the one
    that looks how far it is among them. One stays free: a session counts for a moment after its client has left."""
    return max(1, min([wanted, *(limit - used - 1 for limit, used in places if limit >= 0)]))


def open_rights(schema: str, privileges: Sequence[str]) -> list[str]:
    """What everybody may do in a schema, as `objects.KINDS["privileges"]` has it."""
    names = (f"{schema} ", f"{quoted(schema)} ")
    acls = [line.removeprefix(name) for line in privileges for name in names if line.startswith(name)]
    letters = {
        letter for acl in acls for word in acl.split() if word[0] == "=" for letter in word.partition("/")[0]
    }
    return [right for letter, right in (("U", "USAGE"), ("C", "CREATE")) if letter in letters]


def restore(order: RestoreOrder) -> tuple[str, ...]:
    """Implements `ports.database.Database.restore`."""
    try:
        with reading(order.dump), environment(order.into) as env:
            return _Restore(order, examine(order.dump, order.sha256), env).run()
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
                hint="backstay backup restore takes the database out of it first",
            )
        self.order = order
        self.manifest = manifest
        self.facts = ask_server(env)
        options = f"{FASTER} {env.get('PGOPTIONS', '')} {unlimited(self.facts.server_major)}"
        self.env = {**env, "PGOPTIONS": options}
        self._refuse_unfit()
        self.pg_restore = find_tool_of("pg_restore", self.facts.server_major)
        size = int(manifest["database"]["bytes"])
        self.watch = Watch("restore", "pg_restore", size, order.limits, order.stopped, order.tell)

    def run(self) -> tuple[str, ...]:
        """What the database could not be given beside its content."""
        beside = read(self.manifest, self.order.dump, self.order.identity) if self.order.properties else None
        if self.order.roles:
            self._make_roles()
        jobs = self._jobs()
        argv = [self.pg_restore, "--exit-on-error", "--no-password"]
        argv += [f"--dbname={conninfo(self.facts.database)}"]
        if not self.order.owners:
            argv += ["--no-owner", "--no-acl"]
        if not self.order.subscriptions:
            argv += ["--no-subscriptions"]
        objects = (self.manifest.get("content") or {}).get("objects", {})
        has_public = "public" in objects.get("schemas", ["public"])
        if not has_public:
            self._drop_public()
        folder = self._room(jobs)
        if folder is None:
            self._in_one_stream(argv)
        else:
            self._in_parallel(argv, jobs, folder)
        if self.order.owners and not has_public:
            self._open_schemas(objects)
        if self.order.analyze:
            with session(self.env, self.watch.left_s) as asked:
                asked.rows("ANALYZE")
        return self._give(beside) if beside else ()

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
                f"the database {self.facts.database} is not empty: it holds {found[0][0]}",
                hint="name a database that was just made",
            )

    def _jobs(self) -> int:
        wanted = self.order.jobs or min(2 * len(os.sched_getaffinity(0)), MOST_JOBS)
        with session(self.env, ANSWER_S) as asked:
            return most_jobs(wanted, [(int(limit), int(used)) for limit, used in asked.rows(_PLACES)])

    def _drop_public(self) -> None:
        """A new database has a schema `public`, which what was dumped may lack. Where it may not go, or is not empty,
        the comparison tells."""
        with session(self.env, ANSWER_S) as asked, contextlib.suppress(DatabaseError):
            asked.rows("DROP SCHEMA IF EXISTS public")

    def _open_schemas(self, objects: Mapping[str, Sequence[str]]) -> None:
        """pg_dump leaves out the rights that `public` has from the beginning, also where it was renamed."""
        with session(self.env, ANSWER_S) as asked:
            for schema in objects["schemas"]:
                for right in open_rights(schema, objects.get("privileges", ())):
                    asked.rows(f"GRANT {right} ON SCHEMA {quoted(schema)} TO PUBLIC")

    def _give(self, beside: Properties) -> tuple[str, ...]:
        with session(self.env, ANSWER_S) as asked:
            return give(asked, own(asked), beside, rights=self.order.owners)

    def _make_roles(self) -> None:
        """The roles of the source that the target lacks, with their memberships. Tablespaces are not made."""
        file = self.manifest["files"].get("globals")
        if file is None:
            return
        text = plain_bytes(self.order.dump.parent / file["name"], self.order.identity).decode()
        # Names that all databases share are the bytes that somebody gave, whatever encoding this one has.
        passed_over = ("--", "\\", "CREATE TABLESPACE", "SET client_encoding")
        there = {f'"{role}"' for role in self.facts.roles} | set(self.facts.roles)
        with session(self.env, ANSWER_S) as asked:
            for line in text.splitlines():
                words = line.rstrip(";").split()
                if not words or line.startswith(passed_over):
                    continue
                if words[0] in ("CREATE", "ALTER") and words[1] == "ROLE" and words[2] in there:
                    continue
                with contextlib.suppress(DatabaseError):  # such as a grant of a role that is not ours to give
                    asked.rows(line)

    def _room(self, jobs: int) -> Path | None:
        """A folder with room for the unpacked dump; None where there is none, or nobody would gain from it."""
        size = int(self.manifest.get("archive_bytes") or 0)
        if jobs == 1 or not size:
            return None
        for folder in (self.order.dump.parent, Path(tempfile.gettempdir())):
            if os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > size * 1.1 + (1 << 26):
                return folder
        return None

    def _in_one_stream(self, argv: Sequence[str]) -> None:
        with Unpacking(self.order.dump, self.order.identity, subprocess.PIPE) as unpacking:
            try:
                self._watched(argv, unpacking, ())
            except DatabaseError as error:
                # Of what it could not read pg_restore only sees an early end.
                raise unpacking.fault() or error from None
            unpacking.finish(lambda: None)

    def _in_parallel(self, argv: Sequence[str], jobs: int, folder: Path) -> None:
        # A file without a name: nothing of it stays, whatever happens to us. Its readers open it by our handle.
        with tempfile.TemporaryFile(dir=folder) as archive:
            with Unpacking(self.order.dump, self.order.identity, archive) as unpacking:
                unpacking.finish(lambda: self.watch.look(written_by(unpacking.process), None))
            handle = archive.fileno()
            self._watched([*argv, f"--jobs={jobs}", f"/proc/self/fd/{handle}"], None, (handle,))

    def _watched(self, argv: Sequence[str], source: Unpacking | None, handles: Sequence[int]) -> None:
        with (
            tempfile.TemporaryFile() as said,
            subprocess.Popen(
                argv, env=self.env, stdin=source.output if source else subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=said, pass_fds=handles, start_new_session=True,
            ) as tool,
            _Growth(self.env) as growth,
        ):  # fmt: skip
            if source is not None:
                source.output.close()  # ours; or it would never learn that pg_restore died
            try:
                while tool.poll() is None:
                    time.sleep(TICK_S)
                    self.watch.look(growth.bytes, None, moved=growth.seen)
            except BaseException:
                # The group: a helper whose parent died would go on.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(tool.pid, 9)
                raise
            if tool.returncode != 0:
                said.seek(0)
                raise failed("pg_restore", tool.returncode, said.read(1 << 20))


class _Growth:
    """Looks into the target from beside, as pg_restore says nothing while it works. As a context manager.

    A statement that works is a movement (a foreign key that is checked, a view that is filled), one that waits for a
    lock or for pg_restore is none. When the server hangs, what is seen stands still.
    """

    QUERY: Final = """
SELECT pg_database_size(current_database()), (SELECT count(*) FROM pg_class),
  (SELECT sum(blocks_done + tuples_done) FROM pg_stat_progress_create_index),
  (SELECT max(CASE WHEN state = 'active' AND coalesce(wait_event_type, '') NOT IN ('Lock', 'Client')
      THEN clock_timestamp() ELSE query_start END)
    FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid())"""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = {**env, "PGCONNECT_TIMEOUT": "3"}
        self._session: Session | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.seen: tuple[object, ...] = ()
        self.bytes = 0

    def __enter__(self) -> _Growth:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._session is not None:
            self._session.break_off()
        self._thread.join(ANSWER_S)

    def _look(self) -> None:
        while not self._end.wait(LOOK_EVERY_S):
            with contextlib.suppress(DatabaseError):
                self._session = self._session or Session(self._env)
                self.seen = self._session.rows(self.QUERY)[0]
                self.bytes = int(str(self.seen[0]))
        if self._session is not None:
            self._session.close()
