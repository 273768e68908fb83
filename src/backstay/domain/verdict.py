"""The verdict over a bake: hard triggers on what was observed since the switch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backstay.domain.policy import Triggers


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests a slot answered in a window: all, those with a 5xx status, those slower than the limit."""

    requests: int = 0
    errors: int = 0
    slow: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.requests + other.requests, self.errors + other.errors, self.slow + other.slow)

    def error_share(self) -> float:
        return self.errors / self.requests if self.requests else 0.0

    def slow_share(self) -> float:
        return self.slow / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Observation:
    """What a bake has seen so far. Restarts carry the seconds since the switch at which they were seen.

    `probes` maps a component to its results in order; `deaths` names components that cannot restart and died.
    """

    probes: dict[str, Sequence[bool]]
    smokes: Sequence[bool]
    restarts: dict[str, Sequence[float]]
    deaths: Sequence[str]
    now_s: float
    old: Traffic
    new: Traffic


@dataclass(frozen=True, slots=True)
class Trigger:
    """Why a release must be reversed: a stable name and a sentence with the numbers."""

    name: str
    reason: str


def hard_trigger(seen: Observation, limits: Triggers) -> Trigger | None:
    """The first hard trigger that fires, or None. Looked at again after every observation."""
    return next(
        (
            trigger
            for trigger in (
                _failed_probes(seen, limits),
                _deaths(seen),
                _restarts(seen, limits),
                _failed_smokes(seen, limits),
                _errors(seen, limits),
                _slow_answers(seen, limits),
            )
            if trigger is not None
        ),
        None,
    )


def trailing_failures(results: Iterable[bool]) -> int:
    """How many of the newest results failed in a row."""
    count = 0
    for ok in reversed(list(results)):
        if ok:
            break
        count += 1
    return count


def _failed_probes(seen: Observation, limits: Triggers) -> Trigger | None:
    for component, results in seen.probes.items():
        failed = trailing_failures(results)
        if failed >= limits.failed_probes:
            return Trigger("health", f"{component} failed {failed} health probes in a row")
    return None


def _deaths(seen: Observation) -> Trigger | None:
    if not seen.deaths:
        return None
    return Trigger("death", f"{seen.deaths[0]} died and cannot restart")


def _restarts(seen: Observation, limits: Triggers) -> Trigger | None:
    for component, times in seen.restarts.items():
        recent = [t for t in times if seen.now_s - t <= limits.restart_window_s]
        if len(recent) > limits.restarts:
            window = f"{limits.restart_window_s / 60:g} min"
            return Trigger("restarts", f"{component} restarted {len(recent)} times within {window}")
    return None


def _failed_smokes(seen: Observation, limits: Triggers) -> Trigger | None:
    failed = trailing_failures(seen.smokes)
    if failed < limits.failed_smokes:
        return None
    return Trigger("smoke", f"the public smoke test failed {failed} times in a row")


def _errors(seen: Observation, limits: Triggers) -> Trigger | None:
    new, old = seen.new, seen.old
    if new.requests < limits.least_requests or not _exceeds(
        new.error_share() - old.error_share(), limits.error_points
    ):
        return None
    return Trigger(
        "errors",
        f"{new.error_share():.1%} of {new.requests} answers were 5xx (old slot: {old.error_share():.1%}); "
        f"the limit is {limits.error_points * 100:g} points more",
    )


def _slow_answers(seen: Observation, limits: Triggers) -> Trigger | None:
    new, old = seen.new, seen.old
    if new.requests < limits.least_requests or not _exceeds(
        new.slow_share() - old.slow_share(), limits.slow_points
    ):
        return None
    return Trigger(
        "slow",
        f"{new.slow_share():.1%} of {new.requests} answers took longer than {limits.slow_answer_s:g} s "
        f"(old slot: {old.slow_share():.1%}); the limit is {limits.slow_points * 100:g} points more",
    )


def _exceeds(points: float, limit: float) -> bool:
    """Whether a difference of shares is more than `limit`; what binary fractions round to is not "more"."""
    return points - limit > 1e-9
