"""Stories of going back."""

from __future__ import annotations

import pytest

from backstay.domain.deployment import DeploymentState
from backstay.domain.slot import Slot
from backstay.domain.smoke import Answer
from backstay.domain.verdict import Traffic
from backstay.errors import CheckFailed, NotAllowed, UsageError
from tests.pipeline.conftest import Town


def test_a_warm_rollback_is_one_flip_and_starts_nothing(town: Town) -> None:
    town.deploy("v1")
    town.deploy("v2")
    containers = dict(town.engine.containers)
    ended = town.rollback()
    assert (ended.state, ended.exit_status) == (DeploymentState.SUCCEEDED, 0)
    assert town.engine.containers == containers
    assert town.router.flips[-1] is Slot.BLUE
    assert town.serving == {"backend": "v1", "frontend": "v1"}


def test_going_back_twice_goes_back_two_releases(town: Town) -> None:
    for version in ("v1", "v2", "v3"):
        town.deploy(version)
    town.rollback()
    assert town.serving["backend"] == "v2"
    town.rollback()
    assert town.serving["backend"] == "v1"
    with pytest.raises(UsageError, match="no earlier release"):
        town.rollback()


def test_one_component_goes_back_and_the_other_stays(town: Town) -> None:
    town.deploy("v1")
    town.deploy("v2")
    ended = town.rollback("backend", force=True)
    assert ended.exit_status == 0
    assert town.serving == {"backend": "v1", "frontend": "v2"}
    assert ended.version == "v2+backend@v1"


def test_a_component_whose_container_is_gone_starts_again_from_its_digest(town: Town) -> None:
    town.deploy("v1")
    town.deploy("v2")
    town.deploy("v3")
    town.rollback("backend", to="v1", force=True)
    assert town.serving == {"backend": "v1", "frontend": "v3"}


def test_a_rollback_never_migrates_and_never_backs_up(town: Town) -> None:
    for version in ("v1", "v2", "v3"):
        town.deploy(version)
    ended = town.rollback(to="v1")
    assert not {"migrate", "backup"} & {s.name for s in town.store.steps(ended.id)}


def test_a_dead_target_leaves_the_live_slot_serving_and_calls_a_person(town: Town) -> None:
    town.deploy("v1")
    old = {c.port for c in town.engine.containers.values()}
    town.deploy("v2")
    town.prober.answer = lambda port, path: Answer(error="refused") if port in old else Answer(200)
    town.clock.on_tick = lambda elapsed_s: None
    ended = town.rollback()
    assert (ended.state, ended.exit_status) == (DeploymentState.NEEDS_ATTENTION, 21)
    assert town.serving["backend"] == "v2"


def test_a_target_that_fails_in_public_goes_back_to_the_better_slot(town: Town) -> None:
    town.deploy("v1")
    town.deploy("v2")
    town.prober.slot = lambda: "green"
    ended = town.rollback()
    assert (ended.state, ended.exit_status) == (DeploymentState.NEEDS_ATTENTION, 21)
    assert town.router.live is Slot.GREEN
    assert town.serving["backend"] == "v2"


def test_an_automatically_reversed_release_needs_force(town: Town) -> None:
    town.deploy("v1")
    town.router.traffic_of[Slot.GREEN] = Traffic(requests=100, errors=20)
    town.deploy("v2")
    town.router.traffic_of.clear()
    with pytest.raises(NotAllowed, match="reversed automatically"):
        town.deploy("v2")
    assert town.deploy("v2", force=True).exit_status == 0


def test_a_release_rolled_back_by_hand_is_not_quarantined(town: Town) -> None:
    town.deploy("v1")
    town.deploy("v2")
    town.rollback()
    assert town.deploy("v2").exit_status == 0


def test_a_version_that_never_served_cannot_be_rolled_back_to(town: Town) -> None:
    town.deploy("v1")
    with pytest.raises(UsageError, match="ever served"):
        town.rollback(to="v9")


def test_a_warm_rollback_flips_although_the_engine_is_down(town: Town) -> None:
    town.deploy("v1")
    town.deploy("v2")
    town.engine.down = True
    ended = town.rollback()
    assert (ended.state, ended.exit_status) == (DeploymentState.SUCCEEDED, 0)
    assert "cleanup_failed" in town.kinds(ended.id)
    assert town.serving == {"backend": "v1", "frontend": "v1"}


def test_what_is_live_already_is_nothing_to_go_back_to(town: Town) -> None:
    town.deploy("v1")
    town.deploy("v2")
    with pytest.raises(UsageError, match="live already"):
        town.rollback(to="v2")


def test_components_that_never_served_together_do_not_meet_unasked(town: Town) -> None:
    town.deploy("v1")
    town.deploy("v2")
    with pytest.raises(CheckFailed) as refused:
        town.rollback("backend")
    assert "backend v1 with frontend v2" in refused.value.message
    assert refused.value.hint and "--force" in refused.value.hint
    assert town.serving == {"backend": "v2", "frontend": "v2"}


def test_components_that_served_together_may_meet_again(town: Town) -> None:
    town.deploy("v1")
    town.deploy("v2", "backend")
    town.deploy("v2", "frontend")
    town.rollback("frontend")
    assert town.serving == {"backend": "v2", "frontend": "v1"}


def test_a_pair_that_was_reversed_has_not_served_together(town: Town) -> None:
    town.deploy("v1")
    town.router.traffic_of = {Slot.GREEN: Traffic(100, 90, 0)}
    assert town.deploy("v2", "backend").state is DeploymentState.ROLLED_BACK
    town.router.traffic_of = {}
    town.deploy("v3")
    with pytest.raises(CheckFailed):
        town.rollback("frontend", to="v1")


def test_a_warm_rollback_flips_before_it_looks_around(town: Town) -> None:
    town.deploy("v1")
    town.deploy("v2")
    ended = town.rollback()
    steps = [step.name for step in town.store.steps(ended.id)]
    assert steps.index("switch") < steps.index("snapshot") < steps.index("public-smoke")
    [record] = [step for step in town.store.steps(ended.id) if step.name == "snapshot"]
    before = record.result["snapshot"]
    assert (before["slots"]["live"], before["slots"]["green"]["version"]) == ("green", "v2")
    assert before["router"]["weights"] == {"blue": 0, "green": 100}
