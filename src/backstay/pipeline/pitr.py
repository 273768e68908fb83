"""Bring a whole server back as it was at a moment: the newest base backup before it, and the WAL received since.

The server that comes back is a scratch server. Whoever wants the live database restored takes it from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from backstay.domain.backup import Backup, BackupLimits, BackupState, backup_id
from backstay.domain.secret import Secret
from backstay.domain.wal import Chain, Listing, Window, chain_for, window, write_lsn
from backstay.errors import BackupFailed, DatabaseError
from backstay.pipeline.times import rfc3339
from backstay.pipeline.wal import ArchivePorts, chains
from backstay.ports.clock import Clock
from backstay.ports.database import Database, DumpOrder
from backstay.ports.scratch import Scratches, ScratchOrder, ScratchServer
from backstay.ports.store import Reader, Store
from backstay.ports.wal import WalArchive

SLACK: Final = timedelta(seconds=30)
"""How much earlier than promised a recovery may end: the newest mark may lie within a record that was never
finished. What ends earlier has met WAL that is damaged."""

ENDED_EARLY: Final = "recovery ended before configured recovery target was reached"
"""What a server says when nothing was committed after the moment asked for, so that it cannot see it pass."""


class Ports(Protocol):
    """What a recovery to a moment needs of the world."""

    @property
    def store(self) -> Reader: ...
    @property
    def archive(self) -> WalArchive: ...
    @property
    def database(self) -> Database: ...
    @property
    def scratches(self) -> Scratches: ...


@dataclass(frozen=True, slots=True)
class PitrOrder:
    """What to bring back: `at` None is as far as it goes. `folder` is where the WAL was received into, absolute.

    `scratch` says where the server runs and what it is called; its `major`, `data` and `recovery` are filled in
    here. `identity` opens an encrypted base backup; `recipients` are age keys that a backup made of it is encrypted to.
    """

    app: str
    environment: str
    at: datetime | None
    folder: Path
    scratch: ScratchOrder
    identity: Secret | None = None
    recipients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recovered:
    """A running scratch server. Everything committed until `moment` is in it, and it stopped at position `reached`.

    Closing the server is the caller's: `with recovered.server:`.
    """

    server: ScratchServer
    base: Backup
    moment: datetime
    reached: int


def reach(ports: ArchivePorts, app: str, environment: str, folder: Path) -> Window:
    """The moments that can be brought back now. Only looks."""
    return window(chains(ports, app, environment, folder))


def recovered_to(ports: Ports, order: PitrOrder) -> Recovered:
    """Bring it back. Raises BackupFailed for a moment out of reach, naming the window, and when it goes wrong; then
    nothing of it is left."""
    chosen = _chain(ports, order)
    base = next(b for b in ports.store.backups(order.app, order.environment) if b.id == chosen.base.backup)
    try:
        try:
            server, reached = _replayed(ports, order, chosen, base, order.at)
        except DatabaseError as error:
            if order.at is None or ENDED_EARLY not in error.message:
                raise
            server, reached = _replayed(ports, order, chosen, base, None)
    except DatabaseError as error:
        raise BackupFailed(
            f"{base.id} could not be brought forward: {error.message}",
            hint=error.hint,
            state="nothing was changed, and nothing of the scratch server is left",
        ) from error
    listing = ports.archive.listing(order.folder)
    moment = _moment(chosen, listing, reached)
    wanted = order.at or chosen.until
    if order.at is None or moment < order.at:
        _refuse_damaged(server, chosen, moment, wanted, reached)
    return Recovered(server, base, min(moment, order.at) if order.at else moment, reached)


class BackupPorts(Ports, Protocol):
    """What a backup as of a moment needs besides."""

    @property
    def store(self) -> Store: ...
    @property
    def clock(self) -> Clock: ...


def backup_as_of(
    ports: BackupPorts,
    order: PitrOrder,
    folder: Path,
    limits: BackupLimits,
    stopped: Callable[[], bool] = lambda: False,
) -> Backup:
    """Bring a moment back, and dump the application's database out of it into a logical backup of that moment, which
    `backup restore` then takes like any other. `folder` is where backups lie.

    Raises BackupFailed as `recovered_to`.
    """
    began = ports.clock.monotonic()
    recovered = recovered_to(ports, order)
    with recovered.server as server:
        database = str(ports.database.manifest(Path(recovered.base.path))["database"]["database"])
        taken = {backup.id for backup in ports.store.backups(order.app, order.environment)}
        at = recovered.moment
        while (id_ := backup_id(order.app, order.environment, at)) in taken:
            at += timedelta(milliseconds=1)
        about = {"app": order.app, "environment": order.environment, "created_at": rfc3339(at)}
        job = DumpOrder(
            server.url(database), folder, id_, about, limits, stopped, recipients=order.recipients
        )
        try:
            dump = ports.database.dump(job)
        except DatabaseError as error:
            raise BackupFailed(
                f"the recovered database could not be dumped: {error.message}", hint=error.hint,
                state="nothing was changed",
            ) from error  # fmt: skip
    backup = Backup(
        id=id_,
        app=order.app,
        environment=order.environment,
        created_at=rfc3339(at),
        kind=dump.kind,
        state=BackupState.UNVERIFIED,
        bytes=dump.bytes,
        path=str(dump.path),
        sha256=dump.sha256,
        reason=f"as of {rfc3339(order.at or recovered.moment)}, from {recovered.base.id} and WAL",
        content=dump.content is not None,
        encrypted=dump.encrypted,
        database=database,
        system_identifier=dump.facts.system_identifier if dump.facts else None,
        server_major=dump.facts.server_major if dump.facts else None,
        wal_lsn=dump.facts.wal_lsn if dump.facts else None,
        took_s=ports.clock.monotonic() - began,
    )
    if not ports.store.record_backup(backup):
        ports.database.discard(dump.path)
        raise BackupFailed(f"the catalog has a backup {id_} already", hint="try again")
    return backup


def _chain(ports: Ports, order: PitrOrder) -> Chain:
    found = chains(ports, order.app, order.environment, order.folder)
    chosen = chain_for(found, order.at)
    if chosen is not None:
        return chosen
    where = window(found)
    asked = f"{_shown(order.at)} is out of reach" if order.at else "nothing can be brought back"
    spans = ", ".join(f"{_shown(first)} to {_shown(last)}" for first, last in where.spans)
    gaps = "; ".join(dict.fromkeys(c.gap for c in found if c.gap is not None))
    raise BackupFailed(
        f"{asked}: " + (f"what can be brought back is {spans}" if spans else _why_nothing(found)),
        hint=f"the WAL has a gap: {gaps}"
        if gaps
        else f"backstay backup list {order.environment} shows what else there is",
        state="nothing was changed",
    )


def _why_nothing(found: Sequence[Chain]) -> str:
    if not found:
        return "there is no base backup with WAL after it (database.continuous and backstay serve make both)"
    return "no WAL was received after any base backup"


def _replayed(
    ports: Ports, order: PitrOrder, chosen: Chain, base: Backup, at: datetime | None
) -> tuple[ScratchServer, int]:
    """A server on the base that replayed the chain, up to `at` or to its end, and where it stopped."""
    recovery = {"restore_command": "false", "recovery_target_timeline": str(chosen.timeline)}
    if at is not None:
        recovery["recovery_target_time"] = at.astimezone(UTC).isoformat(sep=" ")
    major = base.server_major or order.scratch.major
    wanted = replace(order.scratch, major=major, recovery=recovery)
    data = ports.scratches.folder(wanted)
    try:
        with ports.database.reading(Path(base.path)):
            ports.database.unpack(Path(base.path), data, order.identity, sha256=base.sha256)
        ports.archive.supply(order.folder, chosen, data)
    except DatabaseError:
        ports.scratches.give_up(wanted)
        raise
    server = ports.scratches.open(replace(wanted, data=data))
    reached = ports.archive.reached(data)
    return server, chosen.base.stop if reached is None else reached


def _moment(chosen: Chain, listing: Listing, reached: int) -> datetime:
    """The newest moment of which it is known that everything committed until then is there."""
    known = [mark.at for mark in listing.marks if chosen.base.stop <= mark.lsn <= reached]
    return min(max([chosen.base.at, *known]), chosen.until)


def _refuse_damaged(
    server: ScratchServer, chosen: Chain, moment: datetime, wanted: datetime, reached: int
) -> None:
    """Fail when it did not come as far as the received files promised: then one of them is not what it was."""
    if moment >= min(wanted, chosen.until) - SLACK:
        return
    server.close()
    raise BackupFailed(
        f"the WAL is damaged: it was received until {_shown(chosen.until)}, but only what was committed until "
        f"{_shown(moment)} could be brought back (the server stopped at {write_lsn(reached)})",
        hint="look at the disk; a new base backup begins a new chain: backstay backup create",
        state="nothing was changed, and nothing of the scratch server is left",
    )


def _shown(at: datetime | None) -> str:
    return rfc3339(at) if at is not None else ""
