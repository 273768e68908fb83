"""Try a release on a copy of the database: migrate it, migrate it again, boot the new release, then the old one.

The copy is a backup restored into a scratch server, which verifies the backup. Containers run on a network of their
own that leads to that server and nowhere else, where the engine can make such a one. Nothing here touches what serves.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from backstay.domain.backup import Backup
from backstay.domain.rehearsal import (
    Judgement,
    LockLimits,
    Outlook,
    Rehearsed,
    as_document,
    judge,
)
from backstay.domain.release import Release
from backstay.domain.scratch import Source, Where
from backstay.domain.smoke import failures
from backstay.domain.verification import Verification
from backstay.errors import BackstayError, BackupFailed, DatabaseError, EngineError
from backstay.pipeline.prune import Teller
from backstay.pipeline.trial import Place, RehearsalOrder, Trial, TrialPorts
from backstay.pipeline.verify import RestoredCopy, VerifyOrder, restored, scratch_order
from backstay.ports.database import Database
from backstay.ports.engine import Engine, Login
from backstay.ports.scratch import Scratches, ScratchOrder
from backstay.ports.store import Store

LABEL = "backstay.rehearsal"
ROLE = "rehearsal"


class Ports(TrialPorts, Protocol):
    """What a rehearsal needs of the world."""

    @property
    def store(self) -> Store: ...
    @property
    def database(self) -> Database: ...
    @property
    def scratches(self) -> Scratches: ...


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What came out. `isolated`: nothing that ran could reach more than this host. `took_s` in all."""

    verification: Verification
    found: Rehearsed
    judgement: Judgement
    isolated: bool
    took_s: float
    notes: tuple[str, ...] = field(default=())

    def as_document(self) -> dict[str, Any]:
        return {
            **as_document(self.found, self.judgement),
            "backup": self.verification.as_document(),
            "isolated": self.isolated,
            "notes": list(self.notes),
            "took_s": round(self.took_s, 3),
        }


class RehearsalRefused(BackupFailed):
    """The rehearsal says no; `rehearsal` says why."""

    def __init__(self, rehearsal: Rehearsal, environment: str, version: str) -> None:
        judged = rehearsal.judgement
        more = f" (and {len(judged.reasons) - 1} more)" if len(judged.reasons) > 1 else ""
        super().__init__(
            f"the rehearsal of {version} is {judged.outlook}: {judged.reasons[0]}{more}",
            hint=way_out(rehearsal, environment, version),
            state="production was not touched; the old release serves",
        )
        self.rehearsal = rehearsal


def way_out(rehearsal: Rehearsal, environment: str, version: str) -> str:
    """What people can do next. What they have vouched for already stays in the command: each starts anew."""
    outlook, found = rehearsal.judgement.outlook, rehearsal.found
    if outlook is Outlook.FAILED:
        return f"mend {version}; backstay rehearse {environment} --version {version} tries it again"
    deploy = shlex.join(["backstay", "deploy", environment, "--version", version])
    vouched = [deploy, *(f"--unused {shlex.quote(name)}" for name in found.unused)]
    if outlook is Outlook.COMPATIBLE:
        return " ".join(vouched)
    ways = [f"{deploy} --maintenance, in a window in which visitors wait"]
    if taken := found.taken.all:
        command = " ".join([*vouched, *(f"--unused {shlex.quote(name)}" for name in taken)])
        ways.append(f"{command}, if the old release does not use {'it' if len(taken) == 1 else 'them'}")
    return "; or ".join([*ways, "expand first and contract in a later release"])


def rehearse(ports: Ports, backup: Backup, order: RehearsalOrder, tell: Teller) -> Rehearsal:
    """Rehearse on a copy of `backup`, and leave nothing behind.

    Raises NotVerified for a bad backup, BackupFailed when it could not be tried. The verdict itself is no error.
    """
    began = ports.clock.monotonic()
    with _as_backup_failed():
        sweep(ports, order.environment.app, order.environment.name)
    with open_room(ports, backup, order) as room:
        with room.copy("a") as copy, _as_backup_failed():
            verification = copy.verification
            tell(
                "backup_verified", _told(verification), backup=verification.backup, took_s=verification.took_s
            )
            trial = Trial(ports, order, room.place, copy, tell)
            kept = copy.server.keep(copy.database) if order.migrating and order.has_another else ""
            found = trial.run()
            isolated = room.internal and not trial.ways_out
            notes = (*copy.server.notes, *verification.notes, *_notes(room, copy, trial.ways_out))
            if failures(found.old or ()) and kept and copy.server.go_back(copy.database):
                found = _without_the_migration(Trial(ports, order, room.place, copy, tell), found)
        if failures(found.old or ()) and found.old_before is None:
            with room.copy("b", verification) as copy, _as_backup_failed():
                found = _without_the_migration(Trial(ports, order, room.place, copy, tell), found)
    limits = LockLimits(order.environment.policy.long_lock_s, order.environment.policy.longest_lock_s)
    took_s = ports.clock.monotonic() - began
    return Rehearsal(verification, found, judge(found, limits), isolated, took_s, tuple(dict.fromkeys(notes)))


def _without_the_migration(trial: Trial, found: Rehearsed) -> Rehearsed:
    """Was it the migration, or does the old release not run here at all? Told apart on a copy as it was before."""
    return replace(found, old_before=trial.boot_old("old-before"))


def images_of(engine: Engine, release: Release, login: Login | None) -> dict[str, str]:
    """What the engine runs each component by; fetched where it is not here (any more). Raises EngineError."""
    return {
        name: engine.pull(component.image, component.version, component.digest, login)
        for name, component in release.components.items()
    }


def sweep(ports: Ports, app: str, environment: str) -> list[str]:
    """Remove what rehearsals whose owner died left: servers, containers, networks. Tells what, one line each.

    Raises EngineError and DatabaseError.
    """
    told = ports.scratches.sweep(app, environment)
    living = ports.scratches.living(app, environment)
    labels = {"backstay.app": app, "backstay.environment": environment, "backstay.role": ROLE}
    for container in ports.engine.find(labels):
        if container.labels.get(LABEL) not in living:
            ports.engine.remove(container.id)
            told.append(f"container {container.name} of a rehearsal whose owner died")
    for network in ports.engine.networks(labels):
        if network.removesuffix(NETWORK_SUFFIX) not in living:
            ports.engine.remove_network(network, labels)
            told.append(f"network {network} of a rehearsal whose owner died")
    return told


NETWORK_SUFFIX = "-net"


@dataclass(frozen=True)
class Room:
    """What the copies of one rehearsal share: a claimed name, and a network. `internal`: it has no way out."""

    ports: Ports
    backup: Backup
    order: RehearsalOrder
    scratch: ScratchOrder
    labels: Mapping[str, str]
    internal: bool

    @property
    def place(self) -> Place:
        return Place(self.scratch.name, self.network, self.internal, self.labels)

    @property
    def network(self) -> str:
        return self.scratch.name + NETWORK_SUFFIX

    def copy(self, suffix: str, known: Verification | None = None) -> AbstractContextManager[RestoredCopy]:
        """The backup, restored into a scratch server that the network reaches. `known` when it was found equal
        already: it is not compared again."""
        wanted = replace(self.scratch, name=f"{self.scratch.name}-{suffix}", network=self.network)
        order = self.order
        limits = order.environment.policy.backup_limits
        verify = VerifyOrder(wanted.where, limits, order.identity, order.stopped, analyze=True, known=known)
        return restored(self.ports, self.backup, wanted, verify)


@contextmanager
def open_room(ports: Ports, backup: Backup, order: RehearsalOrder) -> Iterator[Room]:
    """Claim a name first, so that a sweep knows whose all of it is; then make the network."""
    scratch = scratch_order(backup, _where(order))
    labels = {**_labels(order), LABEL: scratch.name, "backstay.role": ROLE}
    network = scratch.name + NETWORK_SUFFIX
    closed = Where.parse(scratch.where).source is not Source.URL  # a server elsewhere must be reached
    claim = replace(scratch, where=str(Where(Source.AUTO)))
    with _as_backup_failed():
        ports.scratches.folder(claim)
    try:
        with _as_backup_failed():
            internal = ports.engine.network(network, True, labels, internal=closed).internal
        yield Room(ports, backup, order, scratch, labels, internal)
    finally:
        # A later sweep takes what is left, once the claim is given up or we are dead.
        with contextlib.ExitStack() as stack:
            stack.callback(_give_up, ports, claim)
            with contextlib.suppress(EngineError):
                for container in ports.engine.find({LABEL: scratch.name}):
                    ports.engine.remove(container.id)
                ports.engine.remove_network(network, labels)


def _give_up(ports: Ports, claim: ScratchOrder) -> None:
    with contextlib.suppress(DatabaseError):
        ports.scratches.give_up(claim)


def _labels(order: RehearsalOrder) -> dict[str, str]:
    labels = {"backstay.app": order.environment.app, "backstay.environment": order.environment.name}
    return labels | ({"backstay.deployment": order.deployment} if order.deployment else {})


def _where(order: RehearsalOrder) -> str:
    source = order.environment.database
    if source is None:
        raise BackupFailed(
            "there is no database, so there is nothing to rehearse on", state="nothing was changed"
        )
    return source.scratch


def _notes(room: Room, copy: RestoredCopy, ways_out: Sequence[str]) -> Iterator[str]:
    if not room.internal:
        yield (
            "not isolated: what ran could reach everything that this host reaches, with the real secrets of all"
            " services but the database"
        )
    if ways_out:
        yield f"not isolated: from the copied database one can reach other servers by {'; '.join(ways_out)}"
    if copy.server.ours and not copy.has_roles:
        yield "the backup has no roles: the release ran as a superuser, so missing rights were not noticed"


def _told(found: Verification) -> str:
    return (
        f"{found.backup} is verified by a restore: {found.tables} tables, {found.rows} rows, {found.checksums}"
        " checksums equal"
    )


@contextmanager
def _as_backup_failed() -> Iterator[None]:
    """What fails for reasons of the host is no verdict."""
    try:
        yield
    except (DatabaseError, EngineError) as error:
        raise BackupFailed(
            f"the rehearsal could not be made: {error.message}",
            hint=error.hint,
            state="nothing was changed",
        ) from error


def sweep_quietly(ports: Ports, app: str, environment: str) -> list[str]:
    """As `sweep`; what cannot be removed now is removed by a later one."""
    try:
        return sweep(ports, app, environment)
    except BackstayError:
        return []
