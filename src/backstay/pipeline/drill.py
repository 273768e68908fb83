"""Drills: recover for real, into scratch, and measure; what comes out is evidence, good or bad.

A restore drill brings the newest data there is into a scratch server, boots the live release on it and asks it what a
smoke test asks. It touches nothing that serves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from backstay.domain.backup import Backup, newest_whole
from backstay.domain.drill import Drill, DrillKind, Part, Proof, canary_proof, freshness, targets, trend
from backstay.domain.environment import Environment
from backstay.domain.release import Release
from backstay.domain.scratch import Source, Where
from backstay.domain.secret import Secret
from backstay.domain.smoke import failures
from backstay.domain.verification import Verification, compared
from backstay.domain.wal import chain_for
from backstay.errors import BackstayError, UsageError
from backstay.pipeline import rehearse
from backstay.pipeline.pitr import PitrOrder, Recovered, recovered_to
from backstay.pipeline.prune import Teller, as_they_are
from backstay.pipeline.rehearse import Room, open_room
from backstay.pipeline.times import rfc3339
from backstay.pipeline.trial import RehearsalOrder, Trial
from backstay.pipeline.verify import RestoredCopy, VerifyOrder, restored, scratch_order
from backstay.pipeline.wal import chains
from backstay.ports.scratch import ScratchOrder
from backstay.ports.wal import WalArchive, WalServer

ANSWER_S = 30.0
ROLE = "drill"


class Ports(rehearse.Ports, Protocol):
    """What a drill needs of the world."""

    @property
    def archive(self) -> WalArchive: ...
    @property
    def server(self) -> WalServer: ...


@dataclass(frozen=True, slots=True)
class RestoreDrill:
    """What to drill. `release` is the live one, None where nothing serves, and `images` what the engine runs its
    components by. `folder` is where WAL is received into; `backup` the id of one to take instead of the newest data.
    """

    environment: Environment
    release: Release | None
    images: Mapping[str, str]
    secrets: Mapping[str, Secret]
    requested_by: str
    folder: Path | None = None
    backup: str | None = None
    identity: Secret | None = None
    stopped: Callable[[], bool] = lambda: False


@dataclass
class _Found:
    """What a drill has seen so far. `moment` is that of the data, `rto_s` how long it took until all answered."""

    subject: str | None = None
    moment: datetime | None = None
    rto_s: float | None = None
    proofs: list[Proof] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(proof.ok is not False for proof in self.proofs)


def drill_restore(ports: Ports, order: RestoreDrill, tell: Teller) -> Drill:
    """Drill, and leave nothing behind but what comes back: whatever goes wrong is a part of it that failed.

    Raises UsageError when there is nothing to restore at all, or no such backup.
    """
    began, started = ports.clock.now(), ports.clock.monotonic()
    rehearse.sweep_quietly(ports, order.environment.app, order.environment.name)
    work = _Work(ports, order, tell, began, started)
    source = work.choose()
    try:
        work.run(source)
    except BackstayError as error:
        work.note(Proof(Part.RESTORED, False, error.message))
    found = work.found
    rpo_s = (began - found.moment).total_seconds() if found.moment is not None else None
    objective = order.environment.policy.objective
    if found.rto_s is not None:
        work.note(targets(objective, found.rto_s, rpo_s))
    return Drill(
        id=0,
        app=order.environment.app,
        environment=order.environment.name,
        kind=DrillKind.RESTORE,
        began_at=rfc3339(began),
        ended_at=rfc3339(ports.clock.now()),
        ok=found.ok,
        summary=_summary(found),
        subject=found.subject,
        release=order.release.version if order.release else None,
        rto_s=found.rto_s,
        rpo_s=None if rpo_s is None else max(0.0, rpo_s),
        rto_target_s=objective.rto_s,
        rpo_target_s=objective.rpo_s,
        proofs=tuple(found.proofs),
        requested_by=order.requested_by,
    )


class _Work:
    """One restore drill under way."""

    def __init__(
        self, ports: Ports, order: RestoreDrill, tell: Teller, began: datetime, started: float
    ) -> None:
        self.ports = ports
        self.order = order
        self.found = _Found()
        self._tell = tell
        self._began = began
        self._started = started

    def note(self, proof: Proof) -> None:
        self.found.proofs.append(proof)
        self._tell("drill_proof", f"{proof.part}: {proof.detail}", ok=proof.ok)

    def choose(self) -> Backup | PitrOrder:
        """The backup that was named; else the newest data there is, received WAL or backup. Raises UsageError."""
        environment = self.order.environment
        app, name = environment.app, environment.name
        rows = as_they_are(self.ports.store, self.ports.database, app, name)
        if self.order.backup is not None:
            for row in rows:
                if row.id == self.order.backup:
                    return self._chosen(row)
            raise UsageError(
                f"there is no backup {self.order.backup!r} of {name}", hint=f"backstay backup list {name}"
            )
        newest = newest_whole(rows)
        if self.order.folder is not None:
            furthest = chain_for(chains(self.ports, app, name, self.order.folder), None)
            if furthest is not None and (newest is None or furthest.until > _moment(newest)):
                self.found.subject = furthest.base.backup
                self.found.moment = furthest.until
                return PitrOrder(app, name, None, self.order.folder, self._scratch(None), self.order.identity)
        if newest is None:
            raise UsageError(f"{name} has no backup to restore", hint=f"backstay backup create {name}")
        return self._chosen(newest)

    def _chosen(self, backup: Backup) -> Backup:
        self.found.subject, self.found.moment = backup.id, _moment(backup)
        return backup

    def run(self, source: Backup | PitrOrder) -> None:
        """Restore, compare, look for the canary, boot and ask; as far as it goes."""
        objective = self.order.environment.policy.objective
        with ExitStack() as stack:
            room = stack.enter_context(self._room(source)) if self.order.release is not None else None
            copy = stack.enter_context(self._copy(source, room))
            assert self.found.moment is not None
            self.note(freshness(self.found.moment, self._began, objective))
            self.note(Proof(Part.RESTORED, True, _restored(copy), copy.verification.took_s))
            self.note(_verified(copy.verification))
            self._look_for_canary(copy)
            if room is not None and self.order.release is not None:
                self._boot(room, copy, self.order.release)
            else:
                self.note(Proof(Part.BOOTED, None, "nothing is live in this environment"))
            self.found.rto_s = self.ports.clock.monotonic() - self._started

    def _look_for_canary(self, copy: RestoredCopy) -> None:
        """A backup believes its own clock; the canary was written by whoever was at work then."""
        environment = self.order.environment
        expected = environment.continuous is not None and environment.continuous.canary
        seen = None
        if expected:
            seen = self.ports.server.last_beat(copy.server.url(copy.database), ANSWER_S)
        assert self.found.moment is not None
        self.note(canary_proof(seen, expected, self.found.moment, self._began, environment.policy.objective))

    def _boot(self, room: Room, copy: RestoredCopy, release: Release) -> None:
        before = self.ports.clock.monotonic()
        trial = Trial(self.ports, self._rehearsal, room.place, copy, _silent)
        results = trial.boot(release, self.order.images, ROLE)
        took_s = self.ports.clock.monotonic() - before
        bad = failures(results)
        unhealthy = [each for each in bad if each.id.endswith(" health") and len(results) == 1]
        if unhealthy:
            self.note(Proof(Part.BOOTED, False, unhealthy[0].detail, took_s))
            return
        self.note(Proof(Part.BOOTED, True, f"{release.version} is healthy on the restored data", took_s))
        said = "; ".join(f"{each.id}: {each.detail}" for each in bad) or f"{len(results)} smoke tests passed"
        self.note(Proof(Part.SMOKED, not bad, said))

    @contextmanager
    def _room(self, source: Backup | PitrOrder) -> Iterator[Room]:
        base = source if isinstance(source, Backup) else self._base()
        with open_room(self.ports, base, self._rehearsal) as room:
            yield room

    @contextmanager
    def _copy(self, source: Backup | PitrOrder, room: Room | None) -> Iterator[RestoredCopy]:
        if isinstance(source, Backup):
            if room is not None:
                copies = room.copy(ROLE)
            else:
                limits = self.order.environment.policy.backup_limits
                verify = VerifyOrder(self._where, limits, self.order.identity, self.order.stopped)
                copies = restored(self.ports, source, scratch_order(source, self._where), verify)
            with copies as copy:
                yield copy
            return
        before = self.ports.clock.monotonic()
        recovered = recovered_to(self.ports, replace(source, scratch=self._scratch(room)))
        with recovered.server:
            self.found.moment = recovered.moment
            yield self._compared(recovered, self.ports.clock.monotonic() - before)

    def _compared(self, recovered: Recovered, took_s: float) -> RestoredCopy:
        """What was brought forward, against what the base says must be there."""
        path = Path(recovered.base.path)
        expected = self.ports.database.content_of(path)
        database = str(self.ports.database.manifest(path)["database"]["database"])
        limits = self.order.environment.policy.backup_limits
        seen = self.ports.database.content(recovered.server.url(database), limits.deadline_s)
        moved_on = None if expected is None else replace(expected, exact=False)
        told = compared(recovered.base.id, moved_on, seen, with_owners=True, took_s=took_s)
        return RestoredCopy(recovered.server, database, replace(told, kind=recovered.base.kind), True)

    def _scratch(self, room: Room | None) -> ScratchOrder:
        base = self._base()
        wanted = scratch_order(base, self._where)
        if room is None:
            return wanted
        return replace(wanted, name=f"{room.scratch.name}-{ROLE}", network=room.network)

    def _base(self) -> Backup:
        environment = self.order.environment
        rows = self.ports.store.backups(environment.app, environment.name)
        return next(row for row in rows if row.id == self.found.subject)

    @property
    def _where(self) -> str:
        source = self.order.environment.database
        return source.scratch if source is not None else str(Where(Source.AUTO))

    @property
    def _rehearsal(self) -> RehearsalOrder:
        order = self.order
        assert order.release is not None
        return RehearsalOrder(
            order.environment, order.release, order.images, (), None, {}, order.secrets, None, order.identity,
            order.stopped,
        )  # fmt: skip


def as_document(drill: Drill, history: list[Drill]) -> dict[str, Any]:
    """A drill as JSON, with the trend of those before it; `history` is newest first, this one included or not."""
    seen = trend([drill, *(other for other in history if other.id != drill.id and other.kind is drill.kind)])
    return {
        "drill": drill.id,
        "app": drill.app,
        "environment": drill.environment,
        "kind": drill.kind.value,
        "ok": drill.ok,
        "summary": drill.summary,
        "began_at": drill.began_at,
        "ended_at": drill.ended_at,
        "subject": drill.subject,
        "release": drill.release,
        "rto_s": _rounded(drill.rto_s),
        "rto_target_s": drill.rto_target_s,
        "rpo_s": _rounded(drill.rpo_s),
        "rpo_target_s": drill.rpo_target_s,
        "proofs": [
            {"part": p.part, "ok": p.ok, "detail": p.detail, "took_s": _rounded(p.took_s)}
            for p in drill.proofs
        ],
        "trend": {
            "rto_s": [_rounded(each) for each in seen.rto_s],
            "rpo_s": [_rounded(each) for each in seen.rpo_s],
            "ratio": _rounded(seen.ratio),
        },
        "requested_by": drill.requested_by,
        "path": drill.path or None,
    }


def _summary(found: _Found) -> str:
    bad = [f"{proof.part}: {proof.detail}" for proof in found.proofs if proof.ok is False]
    return "; ".join(bad) if bad else "; ".join(proof.detail for proof in found.proofs[-1:])


def _restored(copy: RestoredCopy) -> str:
    return f"{copy.verification.backup} is restored: {copy.verification.tables} tables, {copy.verification.rows} rows"


def _verified(found: Verification) -> Proof:
    if found.differences:
        return Proof(Part.VERIFIED, False, found.differences[0])
    if found.reason:
        return Proof(Part.VERIFIED, None, found.reason)
    checked = f"{found.checksums} checksums" if found.checksums else "all objects"
    return Proof(Part.VERIFIED, True, f"{checked} compared with what was dumped")


def _moment(backup: Backup) -> datetime:
    return datetime.fromisoformat(backup.created_at)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _silent(kind: str, message: str, **data: Any) -> None:
    return
