"""Duties in work: commands of ours that run beside us, recorded from their beginning, and how they ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from backstay.domain.alarm import Subject
from backstay.domain.backup import newest_whole
from backstay.domain.drill import DrillKind
from backstay.domain.environment import Environment
from backstay.domain.lease import Presence
from backstay.domain.schedule import ABOUT, PERIODS, Due, Duty, DutyRun, Outcome, may_try
from backstay.errors import BackstayError, UsageError
from backstay.pipeline.objective import raise_or_clear
from backstay.pipeline.prune import Teller
from backstay.pipeline.times import rfc3339
from backstay.ports.children import Child, Children
from backstay.ports.clock import Clock
from backstay.ports.host import Host
from backstay.ports.store import Store

MISSED: Final = "missed"
"""The status under which people hear of a run that came too late."""

SUBJECTS: Final = {Duty.BACKUP: Subject.BACKUP, Duty.RESTORE_DRILL: Subject.DRILL}
"""What an alarm about the failure of a duty is about; others have their own ways to be told."""


DONE_BY: Final = {Duty.RECOVERY: (20, 21)}
"""Exit statuses other than 0 by which a command says that it did its work: a dead deployment was taken back, or needs
a person, who was told."""


class Ports(Protocol):
    @property
    def store(self) -> Store: ...
    @property
    def host(self) -> Host: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def children(self) -> Children: ...


@dataclass(frozen=True, slots=True)
class _Running:
    run: DutyRun
    child: Child | None
    """None for one that an earlier process of ours started: only its end can be seen, not its status."""


@dataclass
class Duties:
    """Runs the duties of one environment, at most one of each at a time."""

    ports: Ports
    environment: Environment
    tell: Teller
    _running: dict[Duty, _Running] = field(default_factory=dict)

    def adopt(self) -> None:
        """Take over what was running when an earlier process of ours died: wait for it, or record that it is lost."""
        app, name = self.environment.app, self.environment.name
        for run in reversed(self.ports.store.duty_runs(app, name)):
            if run.outcome is Outcome.RUNNING:
                self._running[run.duty] = _Running(run, None)
        self.settle()

    def is_running(self, duty: Duty) -> bool:
        return duty in self._running

    def was_tried(self, duty: Duty) -> bool:
        """Whether any run of it has come to an end."""
        return any(run.outcome is not Outcome.RUNNING for run in self.runs(duty))

    def runs(self, duty: Duty) -> list[DutyRun]:
        return self.ports.store.duty_runs(self.environment.app, self.environment.name, duty, 20)

    def begin(self, duty: Duty, due: Due, words: Sequence[str]) -> bool:
        """Begin a run that is due, unless one is under way or failed a moment ago; False then."""
        if duty in self._running or not may_try(self.runs(duty), self.ports.clock.now()):
            return False
        app, name = self.environment.app, self.environment.name
        if due.missed:
            self._tell_missed(duty, due)
        try:
            child = self.ports.children.start(f"{duty}-{app}-{name}", words)
        except BackstayError as error:
            run = self.ports.store.begin_duty(app, name, duty, due.at, self.ports.host.owner())
            self._end(run, Outcome.FAILED, error.message)
            return False
        run = self.ports.store.begin_duty(app, name, duty, due.at, child.owner)
        self._running[duty] = _Running(run, child)
        self.tell("duty_begun", f"{name}: {duty} begins: {due.why}")
        return True

    def settle(self) -> list[Duty]:
        """Record what has ended; returns those."""
        ended = []
        for duty, running in list(self._running.items()):
            outcome = self._outcome(running)
            if outcome is not None:
                del self._running[duty]
                self._end(running.run, *outcome)
                ended.append(duty)
        return ended

    def finish(self, patience_s: float) -> None:
        """Ask all of ours to stop safely, kill those that do not hear, and record how they ended."""
        own = [each.child for each in self._running.values() if each.child is not None]
        for child in own:
            child.ask_to_end()
        until = self.ports.clock.monotonic() + patience_s
        while any(child.ended() is None for child in own) and self.ports.clock.monotonic() < until:
            self.ports.clock.sleep(0.05)
        for child in own:
            if child.ended() is None:
                child.kill()
        self.settle()

    def _outcome(self, running: _Running) -> tuple[Outcome, str] | None:
        if running.child is not None:
            status = running.child.ended()
            if status is None:
                return None
            said = running.child.said()
            if status == 0:
                return Outcome.DONE, ""
            done = status in DONE_BY.get(running.run.duty, ())
            return (Outcome.DONE if done else Outcome.FAILED), said or f"exit status {status}"
        if self.ports.host.presence(running.run.owner) is not Presence.GONE:
            return None
        if self._left_its_work(running.run):
            return Outcome.DONE, "ended while nobody watched"
        return Outcome.LOST, "its process is gone and left nothing"

    def _left_its_work(self, run: DutyRun) -> bool:
        """Whether what a run was for is there, made since it began."""
        store, app, name = self.ports.store, run.app, run.environment
        if run.duty is Duty.BACKUP:
            newest = newest_whole(store.backups(app, name))
            return newest is not None and newest.created_at >= run.began_at
        if run.duty is Duty.RESTORE_DRILL:
            drills = store.drills(app, name, DrillKind.RESTORE, 1)
            return bool(drills) and drills[0].began_at >= run.began_at
        return False

    def _end(self, run: DutyRun, outcome: Outcome, detail: str) -> None:
        self.ports.store.end_duty(run.id, outcome, detail)
        self.tell(
            f"duty_{outcome}", f"{run.environment}: {run.duty} {outcome}" + (f": {detail}" if detail else "")
        )
        if (subject := SUBJECTS.get(run.duty)) is not None:
            fault = None if outcome is Outcome.DONE else f"the {run.duty} {outcome}: {detail}"
            mended = f"the {run.duty} went well again"
            environment = self.environment
            raise_or_clear(
                self.ports.store, run.app, run.environment, subject, fault, mended, environment.channels
            )

    def _tell_missed(self, duty: Duty, due: Due) -> None:
        """Once for each time that was missed, however often the run has to be tried."""
        at = rfc3339(due.at)
        if any(run.due_at == at for run in self.runs(duty)):
            return
        name, channels = self.environment.name, self.environment.channels
        message = f"{duty} was due at {at} and did not run ({due.why}); running now"
        self.ports.store.notify(self.environment.app, name, MISSED, "database", message, channels)
        self.tell("duty_missed", f"{name}: {message}")


def done_by_hand(store: Store, host: Host, app: str, environment: str, duty: Duty, note: str) -> DutyRun:
    """Record that a person did a duty. Raises UsageError for one that records itself when it is done."""
    if duty not in (Duty.LOG_REVIEW, Duty.UPDATE_REVIEW):
        own = {Duty.RESTORE_DRILL: "backstay drill restore", Duty.ROLLBACK_DRILL: "backstay drill rollback"}
        raise UsageError(
            f"{duty} records itself when it is done",
            hint=f"{own[duty]} {environment}" if duty in own else f"choose one of {', '.join(PERIODS)}",
        )
    run = store.begin_duty(app, environment, duty, None, host.owner().person)
    store.end_duty(run.id, Outcome.DONE, note or ABOUT[duty])
    return store.duty_runs(app, environment, duty, 1)[0]


def last_attempt(runs: Sequence[DutyRun]) -> datetime | None:
    """When the last run began that came to an end, good or bad; one that was lost has to be made up for."""
    for run in runs:
        if run.outcome in (Outcome.DONE, Outcome.FAILED):
            return datetime.fromisoformat(run.began_at)
    return None
