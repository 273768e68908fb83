"""Which release served before the live one, and which must not come back unasked."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.domain.deployment import Deployment, DeploymentKind, DeploymentState
from backstay.domain.lineage import is_quarantined, lineage, previous_release
from tests.domain.histories import ran, reversed_by_hand, reversed_by_itself, went_back

RELEASES = st.sampled_from(["r1", "r2", "r3"])
HISTORIES = st.lists(
    st.builds(
        ran,
        st.none() | RELEASES,
        st.sampled_from(DeploymentState),
        st.sampled_from(DeploymentKind),
        automatic=st.booleans(),
    ),
    max_size=8,
)

STORIES: dict[str, tuple[list[Deployment], list[str]]] = {
    "nothing yet": ([], []),
    "one deploy": ([ran("r1")], ["r1"]),
    "three deploys": ([ran("r1"), ran("r2"), ran("r3")], ["r1", "r2", "r3"]),
    "the live one again": ([ran("r1"), ran("r2"), ran("r2")], ["r1", "r2"]),
    "an old one deployed again": ([ran("r1"), ran("r2"), ran("r1")], ["r1", "r2", "r1"]),
    "a reversed one never served": ([ran("r1"), reversed_by_itself("r2"), ran("r3")], ["r1", "r3"]),
    "back once": ([ran("r1"), ran("r2"), ran("r3"), went_back("r2")], ["r1", "r2"]),
    "back twice": ([ran("r1"), ran("r2"), ran("r3"), went_back("r2"), went_back("r1")], ["r1"]),
    "back to the first": ([ran("r1"), ran("r2"), ran("r3"), went_back("r1")], ["r1"]),
    "back and on": ([ran("r1"), ran("r2"), went_back("r1"), ran("r3")], ["r1", "r3"]),
    "back to the newest of two": ([ran("r1"), ran("r2"), ran("r1"), ran("r3"), went_back("r1")],
                                  ["r1", "r2", "r1"]),
    "one component back": ([ran("r1"), ran("r2"), ran("r3"), went_back("mix")], ["r1", "r2", "mix"]),
    "one component back twice": ([ran("r1"), ran("r2"), ran("r3"), went_back("mix"), went_back("mix2")],
                                 ["r1", "r2", "mix2"]),
    "one component back, then all": ([ran("r1"), ran("r2"), went_back("mix"), went_back("r1")], ["r1"]),
    "a failed rollback changes nothing": (
        [ran("r1"), ran("r2"), ran("r1", DeploymentState.FAILED, DeploymentKind.ROLLBACK)], ["r1", "r2"]),
}  # fmt: skip


@pytest.mark.parametrize("story", STORIES)
def test_what_served_and_still_stands(story: str) -> None:
    history, served = STORIES[story]
    assert lineage(history) == served
    assert previous_release(history) == (served[-2] if len(served) > 1 else None)


@pytest.mark.parametrize("state", sorted(set(DeploymentState) - {DeploymentState.SUCCEEDED}))
def test_only_success_counts(state: DeploymentState) -> None:
    assert lineage([ran("r1"), ran("r2", state)]) == ["r1"]


def test_a_refused_attempt_without_a_release_counts_for_nothing() -> None:
    assert lineage([ran("r1"), ran(None)]) == ["r1"]


def stuck(release: str, kind: DeploymentKind = DeploymentKind.DEPLOY) -> Deployment:
    """One that needs a person; what it made live may be what serves."""
    return ran(release, DeploymentState.NEEDS_ATTENTION, kind)


UNPROVEN: dict[str, tuple[list[Deployment], str, list[str]]] = {
    "proven": ([ran("r1"), ran("r2")], "r2", ["r1", "r2"]),
    "a new one": ([ran("r1"), ran("r2"), stuck("r3")], "r3", ["r1", "r2", "r3"]),
    "the second ever": ([ran("r1"), stuck("r2")], "r2", ["r1", "r2"]),
    "an old one, deployed again": ([ran("r1"), ran("r2"), stuck("r1")], "r1", ["r1", "r2", "r1"]),
    "one gone back to": ([ran("r1"), ran("r2"), stuck("r1", DeploymentKind.ROLLBACK)], "r1", ["r1"]),
    "tried, and it does not serve": ([ran("r1"), ran("r2"), stuck("r3")], "r2", ["r1", "r2"]),
    "on no record": ([ran("r1")], "r9", ["r1", "r9"]),
}


@pytest.mark.parametrize("story", UNPROVEN)
def test_what_serves_without_having_been_proven_comes_last(story: str) -> None:
    history, live, served = UNPROVEN[story]
    assert lineage(history, live) == served
    assert previous_release(history, live) == (served[-2] if len(served) > 1 else None)


@given(HISTORIES, RELEASES)
def test_what_serves_is_last_whatever_the_history_says(history: list[Deployment], live: str) -> None:
    assert lineage(history, live)[-1] == live


@given(HISTORIES)
def test_the_last_success_is_live_and_no_release_follows_itself(history: list[Deployment]) -> None:
    served = lineage(history)
    made_live = [d.release for d in history if d.state is DeploymentState.SUCCEEDED and d.release]
    assert served[-1:] == made_live[-1:]
    assert all(one != next_ for one, next_ in pairwise(served))


@given(HISTORIES)
def test_going_back_again_and_again_ends(history: list[Deployment]) -> None:
    steps = len(lineage(history))
    for _ in range(steps):
        if (target := previous_release(history)) is None:
            break
        history = [*history, went_back(target)]
        assert lineage(history)[-1] == target
    assert previous_release(history) is None


QUARANTINE: dict[str, tuple[list[Deployment], bool]] = {
    "never tried": ([ran("r1")], False),
    "reversed by itself": ([ran("r1"), reversed_by_itself("r2")], True),
    "reversed by hand": ([ran("r1"), reversed_by_hand("r2")], False),
    "reversed, then forced and good": ([ran("r1"), reversed_by_itself("r2"), ran("r2")], False),
    "good once, reversed later": ([ran("r2"), ran("r1"), reversed_by_itself("r2")], True),
    "reversed twice": ([reversed_by_itself("r2"), ran("r2"), reversed_by_itself("r2")], True),
    "another one reversed": ([ran("r1"), reversed_by_itself("r3")], False),
    "reversed, then reversed by hand": ([reversed_by_itself("r2"), reversed_by_hand("r2")], True),
    "failed before the switch": ([ran("r2", DeploymentState.FAILED)], False),
    "aborted": ([ran("r2", DeploymentState.ABORTED)], False),
    "another one went live since": ([reversed_by_itself("r2"), ran("r3")], True),
}


@pytest.mark.parametrize("story", QUARANTINE)
def test_quarantine(story: str) -> None:
    history, expected = QUARANTINE[story]
    assert (is_quarantined("r2", history) is not None) == expected


def test_quarantine_names_the_newest_deployment_that_reversed_it() -> None:
    history = [reversed_by_itself("r2", "d1"), reversed_by_itself("r2", "d2"), ran("r3")]
    verdict = is_quarantined("r2", history)
    assert verdict is not None and verdict.id == "d2"
