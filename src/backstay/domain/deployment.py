"""A deployment: one attempt to make a release live, and the states it goes through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class DeploymentState(StrEnum):
    PENDING = "pending"
    AWAITING_APPROVAL = "awaiting_approval"
    RUNNING = "running"
    BAKING = "baking"
    SUCCEEDED = "succeeded"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    ABORTED = "aborted"
    NEEDS_ATTENTION = "needs_attention"

    @property
    def is_final(self) -> bool:
        return not TRANSITIONS[self]


_S = DeploymentState
_ENDS: Final = frozenset({_S.SUCCEEDED, _S.ROLLED_BACK, _S.FAILED, _S.ABORTED, _S.NEEDS_ATTENTION})

TRANSITIONS: Final[Mapping[DeploymentState, frozenset[DeploymentState]]] = {
    _S.PENDING: frozenset({_S.AWAITING_APPROVAL, _S.RUNNING, _S.FAILED, _S.ABORTED}),
    _S.AWAITING_APPROVAL: frozenset({_S.RUNNING, _S.FAILED, _S.ABORTED}),
    _S.RUNNING: frozenset({_S.BAKING}) | _ENDS,
    _S.BAKING: _ENDS,
    **dict.fromkeys(_ENDS, frozenset()),
}


def can_become(now: DeploymentState, then: DeploymentState) -> bool:
    """Whether a deployment may go from `now` to `then`. Ends are final."""
    return then in TRANSITIONS[now]


class DeploymentKind(StrEnum):
    """`RESTORE`: a backup takes the place of the live database, and a release starts anew on it."""

    DEPLOY = "deploy"
    ROLLBACK = "rollback"
    RESTORE = "restore"


class Wish(StrEnum):
    """What a person asks of a running deployment from outside."""

    ABORT = "abort"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One row of the history. Times are RFC 3339 UTC, durations seconds; `release` and `previous` are release ids.

    `exit_status` is what the command (`deploy`, `rollback`, `backup restore`) that asked for it ends with.
    """

    id: str
    app: str
    environment: str
    kind: DeploymentKind
    state: DeploymentState
    version: str
    release: str | None
    previous: str | None
    token: int | None
    requested_by: str
    created_at: str
    finished_at: str | None = None
    failed_step: str | None = None
    reason: str | None = None
    hint: str | None = None
    switch_s: float | None = None
    rollback_s: float | None = None
    total_s: float | None = None
    backup: str | None = None
    incident: str | None = None
    exit_status: int | None = None
    automatic: bool = False
    wish: Wish | None = None
    previous_version: str | None = None
