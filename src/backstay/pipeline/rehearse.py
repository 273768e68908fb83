"""Try a release on a copy of the database: migrate it, migrate it again, boot the new release, then the old one.

The copy is a backup restored into a scratch server, which verifies the backup. Containers run on a network of their
own that leads to that server and nowhere else, where the engine can make such a one. Nothing here touches what serves.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from backstay.domain.backup import Backup, BackupKind
from backstay.domain.environment import Environment
from backstay.domain.policy import SmokeSet
from backstay.domain.rehearsal import (
    Judgement,
    LockLimits,
    MigrationRun,
    Outlook,
    Rehearsed,
    as_document,
    judge,
    statements_of,
)
from backstay.domain.release import Release
from backstay.domain.scratch import Source, Where
from backstay.domain.secret import Secret, redact
from backstay.domain.smoke import CheckResult, failures
from backstay.domain.verification import Verification
from backstay.errors import BackstayError, BackupFailed, DatabaseError, EngineError
from backstay.pipeline.backup import Teller
from backstay.pipeline.redirect import password_of, redirected, role_of
from backstay.pipeline.stage import Stage, StagePorts
from backstay.pipeline.verify import RestoredCopy, VerifyOrder, restored, scratch_order
from backstay.ports.database import Database
from backstay.ports.engine import Engine, Login
from backstay.ports.linter import Linter
from backstay.ports.scratch import Scratches, ScratchOrder
from backstay.ports.store import Store

LABEL = "backstay.rehearsal"
ROLE = "rehearsal"


class Ports(StagePorts, Protocol):
    """What a rehearsal needs of the world."""

    @property
    def store(self) -> Store: ...
    @property
    def database(self) -> Database: ...
    @property
    def scratches(self) -> Scratches: ...
    @property
    def linter(self) -> Linter: ...


@dataclass(frozen=True, slots=True)
class RehearsalOrder:
    """What to rehearse. `images` are references that the engine runs, by component, of `release` and of `previous`.

    `migrating` names the components whose migrations run. `deployment` is set inside one. `stopped` is asked in every
    wait.
    """

    environment: Environment
    release: Release
    images: Mapping[str, str]
    migrating: tuple[str, ...]
    previous: Release | None
    previous_images: Mapping[str, str]
    secrets: Mapping[str, Secret]
    deployment: str | None = None
    identity: Secret | None = None
    stopped: Callable[[], bool] = lambda: False

    @property
    def has_another(self) -> bool:
        """Whether another release than this one serves, which has to live with the migrated database."""
        return self.previous is not None and self.previous.id != self.release.id


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
        breaking = judged.outlook is Outlook.BREAKING
        super().__init__(
            f"the rehearsal of {version} is {judged.outlook}: {judged.reasons[0]}{more}",
            hint=f"backstay deploy {environment} --version {version} --maintenance, in a window in which visitors wait;"
            " or expand first and contract in a later release"
            if breaking
            else f"mend {version}; backstay rehearse {environment} --version {version} tries it again",
            state="production was not touched; the old release serves",
        )
        self.rehearsal = rehearsal


def rehearse(ports: Ports, backup: Backup, order: RehearsalOrder, tell: Teller) -> Rehearsal:
    """Rehearse on a copy of `backup`, and leave nothing behind.

    Raises NotVerified for a bad backup, BackupFailed when it could not be tried. The verdict itself is no error.
    """
    began = ports.clock.monotonic()
    with _as_backup_failed():
        sweep(ports, order.environment.app, order.environment.name)
    with _room(ports, backup, order) as room:
        with room.copy("a") as copy, _as_backup_failed():
            verification = copy.verification
            tell(
                "backup_verified", _told(verification), backup=verification.backup, took_s=verification.took_s
            )
            found = _Trial(ports, order, room, copy, tell).run()
            notes = (*copy.server.notes, *verification.notes, *_notes(room, copy))
        if failures(found.old or ()):
            # The migration, or does the old release not run here at all? Told apart on a copy without it.
            with room.copy("b", verification) as copy, _as_backup_failed():
                found = replace(
                    found, old_before=_Trial(ports, order, room, copy, tell).boot_old("old-before")
                )
    limits = LockLimits(order.environment.policy.long_lock_s, order.environment.policy.longest_lock_s)
    took_s = ports.clock.monotonic() - began
    return Rehearsal(
        verification, found, judge(found, limits), room.internal, took_s, tuple(dict.fromkeys(notes))
    )


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
class _Room:
    """What the copies of one rehearsal share: a claimed name, and a network. `internal`: it has no way out."""

    ports: Ports
    backup: Backup
    order: RehearsalOrder
    scratch: ScratchOrder
    labels: Mapping[str, str]
    internal: bool

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
def _room(ports: Ports, backup: Backup, order: RehearsalOrder) -> Iterator[_Room]:
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
        yield _Room(ports, backup, order, scratch, labels, internal)
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


class _Trial:
    """One copy, and what is tried on it."""

    def __init__(
        self, ports: Ports, order: RehearsalOrder, room: _Room, copy: RestoredCopy, tell: Teller
    ) -> None:
        self._ports = ports
        self._order = order
        self._copy = copy
        self._tell = tell
        self._secrets = _given(order, copy)
        values = [*order.secrets.values(), *self._secrets.values()]
        self._hidden = [*values, password_of(copy.server.url(copy.database))]
        self._stage = Stage(
            ports=ports,
            prefix=room.scratch.name,
            network=room.network,
            internal=room.internal,
            labels=room.labels,
            ports_range=order.environment.ports,
            secrets=self._secrets,
            stopped=order.stopped,
        )

    def run(self) -> Rehearsed:
        """Everything, as far as it makes sense: what comes after a failure would fail for its sake."""
        found = Rehearsed()
        for component in self._order.migrating:
            found = replace(found, migrated=(*found.migrated, self._migrate(component, "migrate")))
            if found.migrated[-1].fault:
                return self._linted(found)
        found = self._linted(found)
        for component in self._order.migrating:
            found = replace(found, again=(*found.again, self._migrate(component, "again")))
            if found.again[-1].fault:
                return found
        found = replace(found, new=self._boot(self._order.release, self._order.images, "new"))
        if not failures(found.new or ()) and found.migrated and self._order.has_another:
            found = replace(found, old=self.boot_old("old"))
        return found

    def boot_old(self, role: str) -> tuple[CheckResult, ...] | None:
        previous = self._order.previous
        return None if previous is None else self._boot(previous, self._order.previous_images, role)

    def _linted(self, found: Rehearsed) -> Rehearsed:
        changes = [statement.sql for run in found.migrated for statement in run.changes]
        return replace(found, lints=self._ports.linter.lint(changes, self._copy.server.major))

    def _migrate(self, name: str, role: str) -> MigrationRun:
        component = self._order.release.components[name]
        policy = self._order.environment.policy
        options = {"PGOPTIONS": f"-c lock_timeout={int(policy.lock_timeout_s * 1000)}"}
        began = self._ports.clock.monotonic()
        with self._copy.server.watch(self._copy.database) as watch:
            code, output = self._stage.run_once(
                component, self._order.images[name], role, options, policy.migrate_deadline_s
            )
            took_s = self._ports.clock.monotonic() - began
            seen = watch.trace()
        output = [redact(line, self._hidden) for line in output]
        words = next((line for line in reversed(output) if line.strip()), "")
        run = MigrationRun(name, code, took_s, words, seen)
        sent = [each.shown for each in statements_of(Rehearsed(migrated=(run,)))]
        self._tell(
            "migration_rehearsed",
            f"{name}{' (a second time)' if role == 'again' else ''}: exit {code} after {took_s:.1f} s",
            output=output if code != 0 else [],
            statements=sent,
        )
        return run

    def _boot(self, release: Release, images: Mapping[str, str], role: str) -> tuple[CheckResult, ...]:
        full = self._order.environment.policy.smoke is SmokeSet.FULL
        results = self._stage.boot_and_smoke(release, images, role, self._order.environment, full)
        shown = tuple(replace(each, detail=redact(each.detail, self._hidden)) for each in results)
        bad = failures(shown)
        which = {"new": "new", "old": "old"}.get(role, "old (on an unmigrated copy)")
        said = "; ".join(f"{each.id}: {each.detail}" for each in bad) or f"{len(shown)} tests passed"
        self._tell("release_rehearsed", f"the {which} release {release.version}: {said}", ok=not bad)
        return shown


def _given(order: RehearsalOrder, copy: RestoredCopy) -> dict[str, Secret]:
    """The secrets, with the copy in place of the database, under whatever name its URL is known."""
    source = order.environment.database
    assert source is not None
    live = order.secrets[source.url_secret]
    role = role_of(live) or None
    if copy.server.ours and not copy.has_roles:
        role = None
    if role is not None:
        copy.server.adopt_role(role, copy.database, owns=copy.verification.kind is BackupKind.LOGICAL)
    scratch = copy.server.url_for_containers(copy.database, role)
    theirs = {live, order.secrets.get(source.backup_url_secret, live)}
    return {
        name: redirected(value, scratch) if value in theirs else value
        for name, value in order.secrets.items()
    }


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


def _notes(room: _Room, copy: RestoredCopy) -> Iterator[str]:
    if not room.internal:
        yield (
            "not isolated: what ran could reach everything that this host reaches, with the real secrets of all"
            " services but the database"
        )
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
