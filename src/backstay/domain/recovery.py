"""What to do about a deployment whose worker died."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from backstay.domain.deployment import Deployment, DeploymentKind
from backstay.domain.step import StepRecord, StepState


class Course(StrEnum):
    """`FORWARD` closes a deployment that had proven itself; `UNDO` takes back what it started."""

    FORWARD = "forward"
    UNDO = "undo"


def course(deployment: Deployment, journal: Sequence[StepRecord]) -> Course:
    """Decide from the journal alone whether the dead deployment is finished or reversed.

    A release goes forward only when its last proof (the bake; for a rollback the public smoke test) is journaled
    as done and nothing had begun to reverse it: an unwatched release is not a proven one.
    """
    proof = "bake" if deployment.kind is DeploymentKind.DEPLOY else "public-smoke"
    reversing = any(r.state in (StepState.UNDOING, StepState.UNDONE, StepState.FAILED) for r in journal)
    proven = any(r.name == proof and r.state is StepState.DONE for r in journal)
    return Course.FORWARD if proven and not reversing else Course.UNDO
