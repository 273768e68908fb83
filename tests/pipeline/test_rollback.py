"""Stories of going back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from backstay.domain.deployment import Deployment, DeploymentState
from backstay.domain.release import Route
from backstay.domain.secret import Secret
from backstay.domain.slot import Slot
from backstay.domain.smoke import Answer
from backstay.domain.verdict import Traffic
from backstay.errors import CheckFailed, NotAllowed, SecretsError, UsageError
from backstay.pipeline.resolve import plan_deploy
from tests.pipeline.conftest import PUBLIC_PORT, Town

BOTH_V1 = {"backend": "v1", "frontend": "v1"}


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


def test_the_only_component_goes_back_alone_with_the_routes_that_are_live(town: Town) -> None:
    """Its container stands by, but behind other routes: one flip would bring those back as well."""
    [frontend] = [c for name, c in town.application.components.items() if name == "frontend"]
    alone = replace(town.application, components={"frontend": frontend}, routes=(Route("/", "frontend"),))
    rerouted = replace(alone, routes=(Route("/shop/", "frontend"), *alone.routes))
    digest = lambda image, tag: town.engine.digest(image, tag, None)  # noqa: E731
    for application, version in ((alone, "v1"), (rerouted, "v2")):
        town.carry_out(plan_deploy(application, version, (), False, town.store, digest))
    before = dict(town.engine.containers)
    ended = town.rollback("frontend")
    assert (ended.exit_status, town.serving) == (0, {"frontend": "v1"})
    slots = town.store.slots("shop", "dev")
    assert slots.serving and slots.serving.release == ended.release and slots.live
    assert town.router.loaded[slots.live].routes == rerouted.routes
    assert town.engine.containers == before, "no container was started for it"


def test_one_slow_answer_of_a_container_that_restarted_long_ago_stops_no_rollback(town: Town) -> None:
    town.deploy("v1")
    [backend] = [c for c in town.engine.containers.values() if "backend" in c.name]
    town.engine.change(backend.id, restarts=1)
    town.deploy("v2")
    slow = [Answer(error="no whole answer within 2 s")] * 2
    town.prober.answer = lambda port, path: slow.pop() if slow and port == backend.port else Answer(200)
    assert town.rollback().exit_status == 0
    assert not slow and town.serving == {"backend": "v1", "frontend": "v1"}


def test_a_component_whose_container_is_gone_starts_again_from_its_digest(town: Town) -> None:
    town.deploy("v1")
    town.deploy("v2")
    town.deploy("v3")
    town.rollback("backend", to="v1", force=True)
    assert town.serving == {"backend": "v1", "frontend": "v3"}


def test_a_standby_container_that_somebody_removed_starts_again_from_its_digest(town: Town) -> None:
    town.deploy("v1")
    removed, kept = sorted(town.engine.containers.values(), key=lambda c: c.name)
    town.deploy("v2")
    del town.engine.containers[removed.id]
    town.prober.answer = lambda port, path: Answer(error="refused") if port == removed.port else Answer(200)
    ended = town.rollback()
    assert (ended.state, ended.exit_status, town.serving) == (DeploymentState.SUCCEEDED, 0, BOTH_V1)
    slots = town.store.slots("shop", "dev")
    assert slots.serving is not None and slots.serving.release == ended.release
    assert kept.id in slots.serving.containers and removed.id not in slots.serving.containers
    steps = [step.name for step in town.store.steps(ended.id)]
    assert {"pull", "start", "stage", "smoke"} < set(steps) and "migrate" not in steps


def test_a_standby_that_has_stopped_or_of_which_nobody_tells_is_not_taken_for_gone(town: Town) -> None:
    town.deploy("v1")
    v1 = list(town.engine.containers.values())
    town.deploy("v2")
    for container in v1:
        town.engine.change(container.id, running=False, exit_code=137)

    def answer(port: int, path: str) -> Answer:
        up = {c.port for c in town.engine.containers.values() if c.running} | {PUBLIC_PORT}
        return Answer(200) if port in up else Answer(error="refused")

    town.prober.answer = answer
    ended = town.rollback()
    assert ended.exit_status == 0 and "stage" not in [step.name for step in town.store.steps(ended.id)]
    assert {c.id for c in v1} <= set(town.engine.containers)


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


def stays_unproven(town: Town, version: str) -> None:
    """A deploy whose bake goes wrong while the old slot is silent: nobody can go back, and it keeps serving (21)."""
    slots = town.store.slots("shop", "dev")
    old = {placement.port for placement in slots.serving.placements.values()} if slots.serving else set()
    judged = False

    def traffic(slot: Slot, window_s: float, slow_s: float) -> Traffic:
        nonlocal judged
        judged |= town.router.live is slots.target
        return Traffic(requests=100, errors=20 if slot is slots.target and judged else 0)

    def answer(port: int, path: str) -> Answer:
        return Answer(error="refused") if judged and port in old else Answer(200)

    was = town.router.traffic, town.prober.answer
    town.router.traffic, town.prober.answer = traffic, answer  # type: ignore[method-assign]
    assert town.deploy(version).exit_status == 21
    town.router.traffic, town.prober.answer = was  # type: ignore[method-assign]
    assert town.serving["backend"] == version


def test_back_from_what_was_never_proven_is_back_to_what_served_before_it(town: Town) -> None:
    town.deploy("v1")
    town.deploy("v2")
    stays_unproven(town, "v3")
    assert town.rollback().exit_status == 0
    assert town.serving["backend"] == "v2"


def test_back_from_a_second_release_that_was_never_proven(town: Town) -> None:
    town.deploy("v1")
    stays_unproven(town, "v2")
    assert town.rollback().exit_status == 0
    assert town.serving["backend"] == "v1"


@pytest.mark.parametrize("to", [None, "v0", "v1"])
def test_a_maintenance_migration_is_not_passed_unasked_although_its_release_was_never_proven(
    town: Town, to: str | None
) -> None:
    town.deploy("v0")
    town.deploy("v1")
    town.router.traffic_of[Slot.BLUE] = Traffic(requests=100, errors=20)
    assert town.deploy("v2", maintenance=True).exit_status == 21
    town.router.traffic_of.clear()
    assert town.serving["backend"] == "v2"
    with pytest.raises(CheckFailed, match="changed the database"):
        town.rollback(to=to)


def goes_back_to_the_sick(town: Town) -> Deployment:
    """A warm rollback whose target prints a secret and is not healthy."""
    town.engine.output = ["cannot connect to postgresql://u:hunter2secret@db/shop"]
    town.deploy("v1")
    old = {container.port for container in town.engine.containers.values()}
    town.deploy("v2")
    town.prober.answer = lambda port, path: Answer(503) if port in old else Answer(200)
    return town.rollback()


def test_no_secret_is_in_what_a_warm_rollback_tells(town: Town) -> None:
    """It quotes the output of its target before anything else had a reason to read the secrets."""
    ended = goes_back_to_the_sick(town)
    told = [*town.store.events(ended.id), ended.reason]
    assert "[redacted]" in str(ended.reason) and "hunter2secret" not in str(told)


def test_output_is_withheld_while_nobody_can_tell_what_in_it_is_secret(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    was = town.router.switch

    def unreadable() -> Mapping[str, Secret]:
        raise SecretsError("secrets.env: cannot be read: Permission denied")

    def switch(to: Slot, token: int) -> float:
        if to is Slot.GREEN:  # v2 goes live
            monkeypatch.setattr(town.secrets, "read", unreadable)
        return was(to, token)

    monkeypatch.setattr(town.router, "switch", switch)
    ended = goes_back_to_the_sick(town)
    assert "withheld" in str(ended.reason)
    assert "hunter2secret" not in str([*town.store.events(ended.id), ended.reason])


def test_a_container_that_would_start_without_its_secret_is_not_begun(town: Town) -> None:
    for version in ("v1", "v2", "v3"):
        town.deploy(version)
    del town.secrets.values["KEY"]
    ended = town.rollback(to="v1")
    assert ended.exit_status == 21 and "secrets missing: KEY" in str(ended.reason)
    assert town.serving["backend"] == "v3"


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
