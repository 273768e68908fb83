"""What is done from time to time: the part of the store that schedules, drills and alarms are recorded in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from backstay.domain.alarm import Alarm, Subject
from backstay.domain.drill import Drill, DrillKind
from backstay.domain.lease import Owner
from backstay.domain.notification import Channel
from backstay.domain.schedule import Duty, DutyRun, Outcome


class DutyReader(Protocol):
    """Questions; none of them writes."""

    def watched_since(self, app: str, environment: str) -> datetime | None:
        """Since when somebody looks after the schedules of an environment; None when nobody ever did."""

    def duty_runs(
        self, app: str, environment: str, duty: Duty | None = None, limit: int = 100
    ) -> list[DutyRun]:
        """The runs of all duties or one, newest first."""

    def drills(
        self, app: str, environment: str, kind: DrillKind | None = None, limit: int = 100
    ) -> list[Drill]:
        """The evidence, newest first."""

    def alarms(self, app: str, environment: str) -> list[Alarm]:
        """What stands now, by subject."""


class DutyStore(DutyReader, Protocol):
    """Writes. None of them acts on an environment, so none needs a token. Raises StoreError."""

    def watch(self, app: str, environment: str) -> datetime:
        """Note that somebody looks after the schedules from now on, if nobody did before; since when."""

    def begin_duty(
        self, app: str, environment: str, duty: Duty, due_at: datetime | None, owner: Owner
    ) -> DutyRun:
        """Record that a run begins; very old runs of the same duty are forgotten."""

    def end_duty(self, run: int, outcome: Outcome, detail: str) -> None:
        """Record how a run ended. One that has ended already stays as it is."""

    def record_drill(self, drill: Drill) -> Drill:
        """Keep the evidence of a drill, for ever; it comes back with its number."""

    def raise_alarm(
        self, app: str, environment: str, subject: Subject, message: str, channels: Sequence[Channel]
    ) -> bool:
        """Let an alarm stand, and tell the file log and `channels` in the same transaction. When it stands already
        only its message changes, nobody is told, and False is returned."""

    def clear_alarm(
        self, app: str, environment: str, subject: Subject, message: str, channels: Sequence[Channel]
    ) -> bool:
        """Take an alarm away and tell that it is mended; False, and nobody is told, when none stands."""
