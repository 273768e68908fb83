"""Steps and what the journal knows of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class StepState(StrEnum):
    """Where a step stands in the journal. `STARTED` is the intent, written before the effect."""

    STARTED = "started"
    DONE = "done"
    FAILED = "failed"
    UNDOING = "undoing"
    UNDONE = "undone"

    @property
    def may_have_effect(self) -> bool:
        """Whether the world may carry this step's effect; only an undone step's surely does not."""
        return self is not StepState.UNDONE


class Truth(StrEnum):
    """A probe's answer to "did it happen?"."""

    HAPPENED = "happened"
    NOT_HAPPENED = "not_happened"
    PARTLY = "partly"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step of a deployment as journaled. `result` is what `do` found or made, enough for `undo` after a crash."""

    name: str
    position: int
    state: StepState
    started_at: str
    took_s: float | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Telling:
    """An event that is still to be written; what the store adds is its number and time."""

    kind: str
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a deployment's story; `kind` is in the past tense, `at` RFC 3339 UTC."""

    seq: int
    at: str
    deployment: str
    kind: str
    step: str | None
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)
