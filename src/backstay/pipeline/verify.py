"""Verify a backup in the one way that counts: restore it, and compare what is there with what was dumped.

The restored copy is handed on while it lives: the rehearsal and the drills work on it, so that one restore serves all.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from backstay.domain.backup import Backup, BackupKind, BackupLimits, BackupProgress, BackupState
from backstay.domain.content import Content
from backstay.domain.scratch import Source, Where
from backstay.domain.secret import Secret
from backstay.domain.verification import Verification, compared
from backstay.errors import BackupFailed, DatabaseError
from backstay.pipeline.times import rfc3339
from backstay.ports.clock import Clock
from backstay.ports.database import Damaged, Database, RestoreOrder
from backstay.ports.scratch import Scratches, ScratchOrder, ScratchServer
from backstay.ports.store import Store

HELPERS = 3
"""Nobody but us uses the scratch server, so it may read a large table with several processors."""


class Ports(Protocol):
    """What a verification needs of the world."""

    @property
    def store(self) -> Store: ...
    @property
    def database(self) -> Database: ...
    @property
    def scratches(self) -> Scratches: ...
    @property
    def clock(self) -> Clock: ...


@dataclass(frozen=True, slots=True)
class RestoredCopy:
    """A backup restored into `database` of a scratch server, and what that proved.

    `has_roles`: the source's roles are there, and own what they owned; else all belongs to the server's superuser.
    """

    server: ScratchServer
    database: str
    verification: Verification
    has_roles: bool


@dataclass(frozen=True, slots=True)
class VerifyOrder:
    """How to verify: `where` is `database.scratch` of the configuration, `identity` the key of encrypted backups.

    `stopped` is asked, and `progress` told how far the restore is, a few times per second. `analyze`: collect
    statistics too, for whoever works on the copy afterwards. `known`: what a comparison found a moment ago; then this
    one is a restore alone.
    """

    where: str
    limits: BackupLimits
    identity: Secret | None = None
    stopped: Callable[[], bool] = lambda: False
    progress: Callable[[BackupProgress], None] = lambda _: None
    analyze: bool = False
    known: Verification | None = None


def verify(ports: Ports, backup: Backup, order: VerifyOrder) -> Verification:
    """Restore a backup, compare, throw the copy away, and enter the outcome into the catalog.

    Raises BackupFailed when that could not be tried: then the catalog says what it said.
    """
    try:
        with restored(ports, backup, scratch_order(backup, order.where), order) as copy:
            return copy.verification
    except NotVerified as error:
        return error.verification


class NotVerified(BackupFailed):
    """The backup is not what it must be; `verification` says in which way, and the catalog knows."""

    def __init__(self, verification: Verification) -> None:
        super().__init__(
            f"backup {verification.backup} is {verification.state}: {verification.reason}",
            hint="use another backup (backstay backup list), and look at the disk of this one (dmesg)",
            state="nothing was changed",
        )
        self.verification = verification


def scratch_order(backup: Backup, where: str, network: str | None = None) -> ScratchOrder:
    """A scratch server for a backup, under a name that nobody else has.

    A physical backup is a whole server, so a server that runs already is no place for it.
    """
    if backup.kind is BackupKind.PHYSICAL and Where.parse(where).source is Source.URL:
        where = str(Where(Source.AUTO))
    name = f"{backup.app}-{backup.environment}-{secrets.token_hex(4)}"
    return ScratchOrder(backup.app, backup.environment, name, backup.server_major or 0, where, network)


@contextmanager
def restored(
    ports: Ports, backup: Backup, scratch: ScratchOrder, order: VerifyOrder
) -> Iterator[RestoredCopy]:
    """A backup, restored and found equal, for as long as the block runs. The catalog knows it as verified then.

    Nobody removes the backup meanwhile. Raises NotVerified when it is damaged, or has other content than it must,
    and BackupFailed when it could not be tried.
    """
    attempt = _Attempt(ports, backup, scratch, order)
    copy = _tried(attempt, ports, backup)
    try:
        yield copy
    finally:
        attempt.end()


def _tried(attempt: _Attempt, ports: Ports, backup: Backup) -> RestoredCopy:
    if not backup.path:
        raise BackupFailed(f"backup {backup.id} has no file: it is {backup.state}", hint=backup.reason)
    try:
        return attempt.begin()
    except Damaged as error:
        told = Verification(backup.id, BackupState.DAMAGED, reason=error.message)
        enter(ports, backup, told)
        raise NotVerified(told) from error
    except DatabaseError as error:
        raise BackupFailed(
            f"backup {backup.id} could not be verified: {error.message}",
            hint=error.hint,
            state="the backup stays as it was; nothing was changed",
        ) from error


def enter(ports: Ports, backup: Backup, found: Verification) -> None:
    """Write what a verification found into the catalog."""
    changes: dict[str, Any] = {"state": found.state}
    if found.ok:
        changes["verified_at"] = rfc3339(ports.clock.now())
    elif found.reason:
        changes["reason"] = f"{found.reason} ({backup.reason})"
    ports.store.change_backup(backup.id, **changes)


class _Attempt:
    """One restore, from `begin`, which leaves nothing when it fails, to `end`."""

    def __init__(self, ports: Ports, backup: Backup, scratch: ScratchOrder, order: VerifyOrder) -> None:
        self._ports = ports
        self._backup = backup
        self._order = order
        self._path = Path(backup.path)
        self._scratch = scratch
        self._server: ScratchServer | None = None
        self._held = ExitStack()
        self._left_out: tuple[str, ...] = ()

    def begin(self) -> RestoredCopy:
        self._ports.scratches.sweep(self._scratch.app, self._scratch.environment)
        self._held.enter_context(self._ports.database.reading(self._path))
        try:
            return self._restore()
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """Remove the copy. What will not go now is claimed still, and swept when we are gone: that is no reason to
        call a good backup bad."""
        with self._held, suppress(DatabaseError):
            if self._server is not None:
                self._server.close()
            else:
                self._ports.scratches.give_up(self._scratch)

    def _restore(self) -> RestoredCopy:
        ports, backup = self._ports, self._backup
        began = ports.clock.monotonic()
        manifest = ports.database.manifest(self._path)
        expected = ports.database.content_of(self._path)
        facts = manifest["database"]
        self._scratch = replace(self._scratch, major=int(facts["server_major"]))
        database = str(facts["database"])
        if backup.kind is BackupKind.PHYSICAL:
            with_owners = self._start_on_the_files()
        else:
            with_owners = self._fill(database, facts, "globals" in manifest["files"])
        assert self._server is not None
        if self._order.known is not None:
            return RestoredCopy(self._server, database, self._order.known, with_owners)
        found = self._found(database)
        took_s = ports.clock.monotonic() - began
        told = compared(backup.id, expected, found, with_owners=with_owners, took_s=took_s)
        told = replace(
            told,
            kind=backup.kind,
            notes=(*told.notes, *self._server.notes, *self._left_out, *self._on_the_live_server(facts)),
        )
        enter(ports, backup, told)
        if not told.ok:
            raise NotVerified(told)
        return RestoredCopy(self._server, database, told, with_owners)

    def _start_on_the_files(self) -> bool:
        data = self._ports.scratches.folder(self._scratch)
        order = self._order
        self._ports.database.unpack(
            self._path,
            data,
            order.identity,
            sha256=self._backup.sha256,
            limits=order.limits,
            stopped=order.stopped,
        )
        self._heed()
        self._server = self._ports.scratches.open(replace(self._scratch, data=data))
        return True

    def _fill(self, database: str, facts: Any, has_globals: bool) -> bool:
        """Restore a dump; whether the source's roles are there too."""
        self._server = server = self._ports.scratches.open(self._scratch)
        like = {name: str(facts[name]) for name in ("encoding", "collation", "ctype") if facts.get(name)}
        server.create(database, like=like)
        with_roles = server.ours and has_globals
        self._left_out = self._ports.database.restore(
            RestoreOrder(
                self._path, server.url(database), self._order.limits, roles=with_roles, owners=with_roles,
                properties=True, analyze=self._order.analyze, identity=self._order.identity, sha256=self._backup.sha256,
                stopped=self._order.stopped, tell=self._order.progress,
            )
        )  # fmt: skip
        self._heed()
        return with_roles

    def _found(self, database: str) -> Content:
        assert self._server is not None
        found = self._ports.database.content(
            self._server.url(database),
            self._order.limits.deadline_s,
            helpers=HELPERS if self._server.ours else 0,
        )
        self._heed()
        return found

    def _on_the_live_server(self, facts: Any) -> tuple[str, ...]:
        """A server that somebody gives may be the live one: told, for they told us to."""
        assert self._server is not None
        if self._server.ours or not facts.get("system_identifier"):
            return ()
        there = self._ports.database.facts(self._server.url()).system_identifier
        return (
            ("the scratch server given is the live server itself",)
            if there == facts["system_identifier"]
            else ()
        )

    def _heed(self) -> None:
        if self._order.stopped():
            raise DatabaseError("stopped on request")
