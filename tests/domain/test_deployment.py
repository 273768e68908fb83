"""The states a deployment goes through."""

from __future__ import annotations

from itertools import product

import pytest

from backstay.domain.deployment import TRANSITIONS, DeploymentState, can_become

S = DeploymentState
ENDS = {S.SUCCEEDED, S.ROLLED_BACK, S.FAILED, S.ABORTED, S.NEEDS_ATTENTION}
ALLOWED = {
    (S.PENDING, S.AWAITING_APPROVAL),
    (S.PENDING, S.RUNNING),
    (S.PENDING, S.FAILED),
    (S.PENDING, S.ABORTED),
    (S.AWAITING_APPROVAL, S.RUNNING),
    (S.AWAITING_APPROVAL, S.FAILED),
    (S.AWAITING_APPROVAL, S.ABORTED),
    (S.RUNNING, S.BAKING),
    *((S.RUNNING, end) for end in ENDS),
    *((S.BAKING, end) for end in ENDS),
}


def test_every_state_has_its_row() -> None:
    assert set(TRANSITIONS) == set(S)


@pytest.mark.parametrize(("now", "then"), list(product(S, S)))
def test_each_pair_of_states(now: DeploymentState, then: DeploymentState) -> None:
    assert can_become(now, then) == ((now, then) in ALLOWED)


@pytest.mark.parametrize("state", S)
def test_ends_and_only_ends_are_final(state: DeploymentState) -> None:
    assert state.is_final == (state in ENDS)


@pytest.mark.parametrize("state", sorted(set(S) - {S.PENDING}))
def test_every_state_can_be_reached(state: DeploymentState) -> None:
    reached, edge = {S.PENDING}, {S.PENDING}
    while edge:
        edge = {then for now in edge for then in TRANSITIONS[now]} - reached
        reached |= edge
    assert state in reached


@pytest.mark.parametrize("state", S)
def test_from_every_state_there_is_a_way_to_an_end(state: DeploymentState) -> None:
    assert state.is_final or any(then.is_final for then in TRANSITIONS[state])


def test_nothing_goes_live_without_having_run() -> None:
    assert not can_become(S.PENDING, S.SUCCEEDED)
    assert not can_become(S.PENDING, S.BAKING)
    assert not can_become(S.AWAITING_APPROVAL, S.SUCCEEDED)
