"""What is tried on one copy of the database: the migrations, twice, then the new release, then the old one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from backstay.domain.backup import BackupKind
from backstay.domain.environment import Environment
from backstay.domain.policy import SmokeSet
from backstay.domain.rehearsal import MigrationRun, Rehearsed, statements_of
from backstay.domain.release import Release
from backstay.domain.secret import Secret, redact
from backstay.domain.smoke import CheckResult, failures
from backstay.domain.tables import Tables, compare
from backstay.pipeline.prune import Teller
from backstay.pipeline.redirect import password_of, redirected, role_of
from backstay.pipeline.stage import Stage, StagePorts
from backstay.pipeline.verify import RestoredCopy
from backstay.ports.linter import Linter


class TrialPorts(StagePorts, Protocol):
    """What a trial needs of the world."""

    @property
    def linter(self) -> Linter: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where its containers run: the beginning of their names, their network, whether that has no way out, labels."""

    name: str
    network: str
    internal: bool
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RehearsalOrder:
    """What to rehearse. `images` are references that the engine runs, by component, of `release` and of `previous`.

    `migrating` names the components whose migrations run. `deployment` is set inside one. `stopped` is asked in every
    wait. `unused`: tables and columns that the old release is said not to use.
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
    unused: tuple[str, ...] = ()

    @property
    def has_another(self) -> bool:
        """Whether another release than this one serves, which has to live with the migrated database."""
        return self.previous is not None and self.previous.id != self.release.id


class Trial:
    """One copy, cut off from other servers, and what is tried on it. `ways_out` are what could not be cut."""

    def __init__(
        self, ports: TrialPorts, order: RehearsalOrder, place: Place, copy: RestoredCopy, tell: Teller
    ) -> None:
        self._ports = ports
        self._order = order
        self._copy = copy
        self._tell = tell
        role = _role(order, copy)
        self.ways_out = copy.server.cut_off(copy.database, role)
        self._secrets = _given(order, copy, role)
        values = [*order.secrets.values(), *self._secrets.values()]
        self._hidden = [*values, password_of(copy.server.url(copy.database))]
        self._stage = Stage(
            ports=ports,
            prefix=place.name,
            network=place.network,
            internal=place.internal,
            labels=place.labels,
            ports_range=order.environment.ports,
            secrets=self._secrets,
            stopped=order.stopped,
        )

    def run(self) -> Rehearsed:
        """Everything, as far as it makes sense: what comes after a failure would fail for its sake."""
        found = Rehearsed(unused=self._order.unused)
        before = self._tables()
        for component in self._order.migrating:
            found = replace(found, migrated=(*found.migrated, self._migrate(component, "migrate")))
            if found.migrated[-1].fault:
                return self._linted(found)
        found = self._linted(replace(found, changes=compare(before, self._tables())))
        for component in self._order.migrating:
            found = replace(found, again=(*found.again, self._migrate(component, "again")))
            if found.again[-1].fault:
                return found
        found = replace(found, new=self.boot(self._order.release, self._order.images, "new"))
        if not failures(found.new or ()) and found.migrated and self._order.has_another:
            found = replace(found, old=self.boot_old("old"))
        return found

    def boot_old(self, role: str) -> tuple[CheckResult, ...] | None:
        previous = self._order.previous
        return None if previous is None else self.boot(previous, self._order.previous_images, role)

    def _tables(self) -> Tables:
        """What the old release knows; nothing where there is none that would have to live with a change."""
        return self._copy.server.tables(self._copy.database) if self._order.has_another else {}

    def _linted(self, found: Rehearsed) -> Rehearsed:
        """What harms who is there already; the first release has the tables to itself."""
        if not self._order.has_another:
            return found
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

    def boot(self, release: Release, images: Mapping[str, str], role: str) -> tuple[CheckResult, ...]:
        full = self._order.environment.policy.smoke is SmokeSet.FULL
        results = self._stage.boot_and_smoke(release, images, role, self._order.environment, full)
        shown = tuple(replace(each, detail=redact(each.detail, self._hidden)) for each in results)
        bad = failures(shown)
        which = {"new": "new", "old": "old"}.get(role, "old (on an unmigrated copy)")
        said = "; ".join(f"{each.id}: {each.detail}" for each in bad) or f"{len(shown)} tests passed"
        self._tell("release_rehearsed", f"the {which} release {release.version}: {said}", ok=not bad)
        return shown


def _role(order: RehearsalOrder, copy: RestoredCopy) -> str | None:
    """The role by which the application signs in to the copy; None: its superuser."""
    source = order.environment.database
    assert source is not None
    if copy.server.ours and not copy.has_roles:
        return None
    return role_of(order.secrets[source.url_secret]) or None


def _given(order: RehearsalOrder, copy: RestoredCopy, role: str | None) -> dict[str, Secret]:
    """The secrets, with the copy in place of the database, under whatever name its URL is known."""
    source = order.environment.database
    assert source is not None
    live = order.secrets[source.url_secret]
    if role is not None:
        copy.server.adopt_role(role, copy.database, owns=copy.verification.kind is BackupKind.LOGICAL)
    scratch = copy.server.url_for_containers(copy.database, role)
    theirs = {live, *(order.secrets.get(name, live) for name in (source.backup_url_secret, source.admin))}
    return {
        name: redirected(value, scratch) if value in theirs else value
        for name, value in order.secrets.items()
    }
