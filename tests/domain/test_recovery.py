"""What becomes of a deployment whose worker died, at every point of its journal."""

from __future__ import annotations

from itertools import product

import pytest

from backstay.domain.deployment import DeploymentKind, DeploymentState
from backstay.domain.recovery import Course, course
from backstay.domain.step import StepRecord, StepState
from tests.domain.histories import ran

RUNBOOKS = {
    DeploymentKind.DEPLOY: (
        "check", "router", "pull", "backup", "migrate", "start", "health", "smoke", "stage", "switch",
        "public-smoke", "bake", "retire",
    ),
    DeploymentKind.ROLLBACK: (
        "router", "pull", "start", "health", "smoke", "stage", "switch", "public-smoke", "retire",
    ),
    DeploymentKind.RESTORE: (
        "router", "pull", "restore", "hold", "quiesce", "swap", "start", "health", "smoke", "stage", "switch",
        "public-smoke", "open", "retire",
    ),
}  # fmt: skip
PROOFS = {
    DeploymentKind.DEPLOY: "bake",
    DeploymentKind.ROLLBACK: "public-smoke",
    DeploymentKind.RESTORE: "public-smoke",
}
PREFIXES = [(kind, length) for kind, steps in RUNBOOKS.items() for length in range(len(steps) + 1)]


def journal(names: tuple[str, ...], last: StepState = StepState.DONE) -> list[StepRecord]:
    """All steps done, and the last one in the state `last`."""
    states = [*[StepState.DONE] * (len(names) - 1), last]
    return [
        StepRecord(name, position, state, "2026-03-01T12:00:00.000Z")
        for position, (name, state) in enumerate(zip(names, states, strict=bool(names)))
    ]


def decided(kind: DeploymentKind, records: list[StepRecord]) -> Course:
    return course(ran("r2", DeploymentState.RUNNING, kind), records)


@pytest.mark.parametrize(("kind", "length"), PREFIXES)
def test_every_prefix_of_done_steps(kind: DeploymentKind, length: int) -> None:
    names = RUNBOOKS[kind][:length]
    expected = Course.FORWARD if PROOFS[kind] in names else Course.UNDO
    assert decided(kind, journal(names)) is expected


@pytest.mark.parametrize(("kind", "length"), [p for p in PREFIXES if p[1] > 0])
def test_every_prefix_whose_last_step_had_only_begun(kind: DeploymentKind, length: int) -> None:
    names = RUNBOOKS[kind][:length]
    expected = Course.FORWARD if PROOFS[kind] in names[:-1] else Course.UNDO
    assert decided(kind, journal(names, StepState.STARTED)) is expected


@pytest.mark.parametrize(
    ("kind", "position", "state"),
    [
        (kind, position, state)
        for kind, state in product(DeploymentKind, (StepState.FAILED, StepState.UNDOING, StepState.UNDONE))
        for position in range(len(RUNBOOKS[kind]))
    ],
)
def test_what_had_begun_to_go_back_goes_back(kind: DeploymentKind, position: int, state: StepState) -> None:
    records = journal(RUNBOOKS[kind])
    old = records[position]
    records[position] = StepRecord(old.name, old.position, state, old.started_at)
    assert decided(kind, records) is Course.UNDO


@pytest.mark.parametrize("kind", DeploymentKind)
def test_one_kind_does_not_live_on_the_proof_of_the_other(kind: DeploymentKind) -> None:
    other = next(k for k in DeploymentKind if k is not kind)
    assert decided(kind, journal(("switch", PROOFS[other]))) is Course.UNDO


@pytest.mark.parametrize("state", StepState)
def test_only_an_undone_step_surely_left_nothing(state: StepState) -> None:
    assert state.may_have_effect == (state is not StepState.UNDONE)
