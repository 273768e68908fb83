"""Stories of a deploy over doubles: what happens when each step goes wrong."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from backstay.adapters.store import open_store
from backstay.domain.deployment import DeploymentState, Wish
from backstay.domain.release import Component, Route
from backstay.domain.slot import Slot
from backstay.domain.smoke import Answer
from backstay.domain.verdict import Traffic
from backstay.errors import RouterError, UsageError
from backstay.pipeline.resolve import plan_deploy
from tests.pipeline.conftest import PUBLIC_PORT, Town

BOTH_V1 = {"backend": "v1", "frontend": "v1"}
BOTH_V2 = {"backend": "v2", "frontend": "v2"}


def test_the_first_deploy_makes_a_version_live(town: Town) -> None:
    ended = town.deploy("v1")
    assert (ended.state, ended.exit_status) == (DeploymentState.SUCCEEDED, 0)
    assert town.serving == BOTH_V1
    assert [s.name for s in town.store.steps(ended.id)] == [
        "check", "snapshot", "router", "pull", "backup", "migrate", "start", "stage", "health",
        "smoke", "switch", "public-smoke", "bake", "retire",
    ]  # fmt: skip


def test_the_old_version_stays_warm_and_the_one_before_it_goes(town: Town) -> None:
    for version in ("v1", "v2", "v3"):
        assert town.deploy(version).exit_status == 0
    slots = town.store.slots("shop", "dev")
    assert slots.serving and slots.standby
    assert (slots.serving.version, slots.standby.version) == ("v3", "v2")
    assert {c.labels["backstay.component"] for c in town.engine.containers.values()} == {
        "backend",
        "frontend",
    }
    assert len(town.engine.containers) == 4


def test_all_missing_secrets_are_named_at_once_and_nothing_starts(town: Town) -> None:
    town.secrets.values.clear()
    ended = town.deploy("v1")
    assert (ended.state, ended.exit_status, ended.failed_step) == (DeploymentState.FAILED, 10, "check")
    assert ended.reason and "DATABASE_URL" in ended.reason and "KEY" in ended.reason
    assert not town.engine.containers and not town.router.running


def test_a_failed_backup_stops_before_the_migration(town: Town) -> None:
    town.deploy("v1")
    town.database.fault = "pg_dump failed: password hunter2secret is wrong"
    ended = town.deploy("v2")
    assert (ended.exit_status, ended.failed_step) == (30, "backup")
    assert "migrate" not in [s.name for s in town.store.steps(ended.id)]
    assert town.serving == BOTH_V1


def test_a_failed_migration_keeps_the_old_version_and_says_that_the_schema_may_be_ahead(town: Town) -> None:
    town.deploy("v1")
    town.engine.exit_codes["migrate"] = 3
    ended = town.deploy("v2")
    assert (ended.exit_status, ended.failed_step) == (20, "migrate")
    assert "schema_ahead" in town.kinds(ended.id)
    assert town.serving == BOTH_V1
    assert len(town.engine.containers) == 2


def test_a_version_that_never_becomes_healthy_gets_no_traffic_and_leaves_nothing(town: Town) -> None:
    town.deploy("v1")
    town.deploy("v2")
    before = dict(town.engine.containers)
    town.prober.answer = lambda port, path: Answer(503 if port > 20006 and path == "/api/health/" else 200)
    ended = town.deploy("v3")
    assert (ended.state, ended.exit_status, ended.failed_step) == (DeploymentState.FAILED, 20, "health")
    assert town.router.flips == [Slot.BLUE, Slot.GREEN]
    assert town.engine.containers == before
    assert town.serving == BOTH_V2


def test_a_container_that_exits_is_given_up_at_once(town: Town) -> None:
    def die(port: int, path: str) -> Answer:
        for container in list(town.engine.containers.values()):
            if container.port == port:
                town.engine.change(container.id, running=False, exit_code=3)
        return Answer(error="nothing listens")

    town.prober.answer = die
    ended = town.deploy("v1")
    assert ended.failed_step == "health"
    assert ended.reason and "exited with 3" in ended.reason and "last words" in ended.reason
    assert town.clock.elapsed_s < 5


def test_a_failed_private_smoke_never_switches(town: Town) -> None:
    town.deploy("v1")
    asked: dict[int, int] = {}

    def answer(port: int, path: str) -> Answer:
        asked[port] = asked.get(port, 0) + 1
        return Answer(500 if port == 20005 and asked[port] > 1 else 200)

    town.prober.answer = answer
    ended = town.deploy("v2")
    assert (ended.exit_status, ended.failed_step) == (20, "smoke")
    assert town.router.flips == [Slot.BLUE]
    assert town.serving == BOTH_V1


def test_a_slot_the_router_finds_down_gets_no_traffic(town: Town) -> None:
    town.deploy("v1")
    town.router.sick.add(Slot.GREEN)
    ended = town.deploy("v2")
    assert (ended.exit_status, ended.failed_step) == (20, "switch")
    assert town.router.loaded.keys() == {Slot.BLUE}
    assert town.serving == BOTH_V1


def test_public_answers_from_the_wrong_slot_flip_back(town: Town) -> None:
    town.deploy("v1")
    town.prober.slot = lambda: "blue"
    ended = town.deploy("v2")
    assert (ended.state, ended.failed_step) == (DeploymentState.ROLLED_BACK, "public-smoke")
    assert ended.reason and "is the listener our router?" in ended.reason
    assert town.router.live is Slot.BLUE


def test_a_wall_clock_that_is_set_meanwhile_does_not_count_as_time_spent(town: Town) -> None:
    def jump(elapsed_s: float) -> None:
        town.clock.start += timedelta(days=3)
        town.clock.on_tick = lambda _: None

    town.clock.on_tick = jump
    ended = town.deploy("v1")
    assert ended.exit_status == 0
    assert ended.total_s is not None and 0 < ended.total_s < 3600


def test_websockets_of_what_stood_in_a_slot_outlive_releases_that_are_taken_back(town: Town) -> None:
    town.deploy("v1")
    town.deploy("v2")
    town.router.busy[Slot.BLUE] = 2
    town.router.sick.add(Slot.BLUE)
    assert town.deploy("v3").failed_step == "switch"
    assert town.router.drained == [Slot.BLUE] and town.router.spared == [2]
    town.prober.answer = lambda port, path: Answer(503)
    assert town.deploy("v3").failed_step == "health"
    assert town.router.drained == [Slot.BLUE], "nothing came to a slot that was never switched to"


def test_errors_under_traffic_reverse_the_release_and_quarantine_it(town: Town) -> None:
    town.deploy("v1")
    town.router.traffic_of[Slot.GREEN] = Traffic(requests=100, errors=20)
    ended = town.deploy("v2")
    assert (ended.state, ended.exit_status, ended.automatic) == (DeploymentState.ROLLED_BACK, 20, True)
    assert ended.rollback_s is not None and ended.switch_s is not None
    assert town.router.flips == [Slot.BLUE, Slot.GREEN, Slot.BLUE]
    assert town.router.drained == [Slot.GREEN]
    assert town.serving == BOTH_V1
    assert len(town.engine.containers) == 2


def test_nobody_flips_back_to_a_slot_that_is_dead(town: Town) -> None:
    town.deploy("v1")
    town.router.traffic_of[Slot.GREEN] = Traffic(requests=100, errors=20)
    old_ports = {c.port for c in town.engine.containers.values()}
    town.prober.answer = lambda port, path: Answer(500 if port in old_ports else 200)
    ended = town.deploy("v2")
    assert (ended.state, ended.exit_status) == (DeploymentState.NEEDS_ATTENTION, 21)
    assert town.router.live is Slot.GREEN
    assert town.serving == BOTH_V2


def test_an_old_slot_that_is_away_for_a_moment_is_waited_for(town: Town) -> None:
    """As when the engine is started anew in the bake: for some seconds nothing it published can be reached."""
    town.deploy("v1")
    away: list[float] = []

    def silent(port: int, path: str) -> Answer:
        if "rollback_triggered" in town.kinds("d2"):
            away.append(town.clock.elapsed_s)
            if town.clock.elapsed_s - away[0] < 4:
                return Answer(error="nothing listens there")
        return Answer(200)

    town.router.traffic_of[Slot.GREEN] = Traffic(requests=100, errors=20)
    town.prober.answer = silent
    ended = town.deploy("v2")
    assert (ended.state, ended.exit_status) == (DeploymentState.ROLLED_BACK, 20)
    assert town.serving == BOTH_V1


def test_a_wish_to_roll_back_during_the_bake_is_heeded_within_200_ms(town: Town) -> None:
    town.deploy("v1")
    asked_at: list[float] = []

    def ask(elapsed_s: float) -> None:
        if town.router.flips[-1] is Slot.GREEN and not asked_at:
            asked_at.append(elapsed_s)
            town.store.ask("d2", Wish.ROLLBACK)

    town.clock.on_tick = ask
    ended = town.deploy("v2")
    assert (ended.state, ended.exit_status, ended.automatic) == (DeploymentState.ROLLED_BACK, 20, False)
    assert town.clock.elapsed_s - asked_at[0] <= 0.2
    assert town.serving == BOTH_V1


def test_an_abort_before_the_switch_undoes_what_was_started(town: Town) -> None:
    town.deploy("v1")
    town.prober.answer = lambda port, path: Answer(503 if port > 20003 else 200)
    town.clock.on_tick = lambda elapsed_s: (
        None if elapsed_s < 12 else _ignore(town.store.ask("d2", Wish.ABORT))
    )
    ended = town.deploy("v2")
    assert (ended.state, ended.exit_status) == (DeploymentState.ABORTED, 130)
    assert len(town.engine.containers) == 2
    assert town.serving == BOTH_V1


def bakes(town: Town, port: int, old: set[int | None]) -> bool:
    """Whether this port is one of d2's, and its bake has begun."""
    return port not in old and port != PUBLIC_PORT and town.store.steps("d2")[-1].name == "bake"


def test_components_that_hang_in_the_bake_hang_together(town: Town) -> None:
    town.deploy("v1")
    old = {c.port for c in town.engine.containers.values()}
    both_asked = threading.Barrier(2)

    def answer(port: int, path: str) -> Answer:
        if not bakes(town, port, old):
            return Answer(200)
        both_asked.wait(30)
        return Answer(error="no whole answer within 2 s")

    town.prober.answer = answer
    ended = town.deploy("v2")
    assert (ended.state, ended.reason) == (
        DeploymentState.ROLLED_BACK,
        "backend failed 3 health probes in a row",
    )
    failed = [e.data["component"] for e in town.store.events("d2") if e.kind == "probe_failed"]
    assert failed == ["backend", "frontend"] * 3


def test_a_wish_is_heeded_while_everything_hangs(town: Town) -> None:
    town.deploy("v1")
    old = {c.port for c in town.engine.containers.values()}
    let_go, answered = threading.Event(), []

    def answer(port: int, path: str) -> Answer:
        if bakes(town, port, old):
            town.store.ask("d2", Wish.ROLLBACK)
            answered.append(let_go.wait(30))
        return Answer(200)

    town.prober.answer = answer
    ended = town.deploy("v2")
    assert (ended.state, ended.automatic, answered) == (DeploymentState.ROLLED_BACK, False, [])
    assert town.serving == BOTH_V1
    let_go.set()


def test_a_router_that_does_not_tell_its_counts_at_once_condemns_nobody(town: Town) -> None:
    """A release that fails now and then, as the one before it did, which is known as soon as the router answers."""
    town.deploy("v1")
    town.router.traffic_of = {Slot.BLUE: Traffic(1000, 100), Slot.GREEN: Traffic(100, 10)}
    silent, tell = [RouterError("the router's holder does not answer: timed out")] * 2, town.router.traffic

    def traffic(slot: Slot, window_s: float, slow_s: float) -> Traffic:
        if silent:
            raise silent.pop()
        return tell(slot, window_s, slow_s)

    town.router.traffic = traffic  # type: ignore[method-assign]
    assert town.deploy("v2").exit_status == 0
    told = [e.message for e in town.store.events("d2") if e.kind == "router_silent"]
    assert len(told) == 2 and all("the old slot counts as faultless" in message for message in told)


def test_a_shared_container_that_restarted_long_ago_may_be_slow_once(town: Town) -> None:
    town.deploy("v1")
    [backend] = [c for c in town.engine.containers.values() if "backend" in c.name]
    town.engine.change(backend.id, restarts=1)
    slow = [Answer(error="no whole answer within 2 s")]
    town.prober.answer = lambda port, path: slow.pop() if slow and port == backend.port else Answer(200)
    assert town.deploy("v2", "frontend").exit_status == 0
    assert not slow and town.serving == {"backend": "v1", "frontend": "v2"}


def test_a_shared_container_that_restarts_meanwhile_is_given_up(town: Town) -> None:
    town.deploy("v1")
    [backend] = [c for c in town.engine.containers.values() if "backend" in c.name]
    town.engine.change(backend.id, restarts=1)

    def waits() -> bool:
        return any(step.name == "health" for step in town.store.steps("d2"))

    def crash(elapsed_s: float) -> None:
        if waits():
            town.engine.change(backend.id, restarts=2)

    town.clock.on_tick = crash
    town.prober.answer = lambda port, path: Answer(503 if port == backend.port and waits() else 200)
    ended = town.deploy("v2", "frontend")
    assert (ended.exit_status, ended.failed_step) == (20, "health")
    assert ended.reason and "backend" in ended.reason and "before it was healthy" in ended.reason


def test_a_route_to_a_component_that_would_not_be_there_is_refused(town: Town) -> None:
    town.deploy("v1")
    known = town.application
    components = {**known.components, "admin": Component("admin", "reg/shop-admin", "", "", 9000)}
    wider = replace(known, components=components, routes=(*known.routes, Route("/admin/", "admin")))
    with pytest.raises(UsageError, match="the route /admin/ leads to admin") as told:
        plan_deploy(wider, "v2", ("backend",), False, town.store, lambda image, version: "sha256:1")
    assert told.value.hint == "deploy it too: --component backend --component admin"


def test_deploying_one_component_shares_the_other_container(town: Town) -> None:
    town.deploy("v1")
    assert town.deploy("v2", "backend").exit_status == 0
    slots = town.store.slots("shop", "dev")
    assert town.serving == {"backend": "v2", "frontend": "v1"}
    assert slots.serving and slots.standby
    assert slots.serving.placements["frontend"] == slots.standby.placements["frontend"]


def test_no_secret_value_reaches_the_store(town: Town) -> None:
    town.deploy("v1")
    town.engine.exit_codes["migrate"] = 1
    town.engine.logs = lambda container, lines: ["cannot connect to postgresql://u:hunter2secret@db/shop"]  # type: ignore[method-assign]
    town.deploy("v2")
    raw = b"".join(path.read_bytes() for path in town.folder.iterdir() if path.is_file())
    assert b"[redacted]" in raw
    assert b"hunter2secret" not in raw


def _ignore(value: object) -> None:
    return None


def test_a_release_that_dies_again_and_again_is_not_promoted_between_two_deaths(town: Town) -> None:
    town.deploy("v1")
    started = town.clock.elapsed_s

    def die_every_seven_seconds(elapsed_s: float) -> None:
        for container in list(town.engine.containers.values()):
            if container.labels["backstay.deployment"] == "d2":
                town.engine.change(container.id, restarts=int((elapsed_s - started) // 7))

    town.clock.on_tick = die_every_seven_seconds
    ended = town.deploy("v2")
    assert ended.state is DeploymentState.ROLLED_BACK
    assert ended.reason and "restarted 3 times" in ended.reason


def test_a_component_that_cannot_restart_is_reversed_at_its_first_death(town: Town) -> None:
    town.deploy("v1")

    def die(elapsed_s: float) -> None:
        for container in list(town.engine.containers.values()):
            if container.labels["backstay.deployment"] == "d2" and "frontend" in container.name:
                town.engine.change(container.id, running=False, exit_code=3, can_restart=False)

    town.clock.on_tick = lambda elapsed_s: die(elapsed_s) if "traffic_switched" in town.kinds("d2") else None
    ended = town.deploy("v2")
    assert (ended.state, ended.reason) == (DeploymentState.ROLLED_BACK, "frontend died and cannot restart")
    [death] = [e for e in town.store.events("d2") if e.kind == "component_died"]
    assert (death.message, death.data["output"]) == (
        "frontend ended with 3; its last output:",
        ["last words"],
    )


def test_a_first_deploy_that_fails_in_public_leaves_an_empty_environment(town: Town) -> None:
    town.prober.slot = lambda: "green"
    ended = town.deploy("v1")
    assert (ended.exit_status, ended.failed_step) == (20, "public-smoke")
    assert town.router.flips == [Slot.BLUE, Slot.GREEN]
    assert town.serving == {} and not town.engine.containers


def test_a_router_that_serves_what_a_new_store_knows_nothing_of_is_left_alone(town: Town) -> None:
    """The state store was lost. Its successor must not take what serves for an empty slot, at whatever attempt."""
    town.deploy("v1")
    town.store.close()
    for file in town.folder.glob("state.db*"):
        file.unlink()
    town.store = open_store(town.folder / "state.db", clock=town.clock)
    before = set(town.engine.containers)
    for _ in range(3):
        ended = town.deploy("v2")
        assert (ended.state, ended.exit_status) == (DeploymentState.FAILED, 20)
        assert ended.reason and "the router serves blue" in ended.reason
        assert ended.hint and "backstay recover" in ended.hint
    assert (town.router.live, set(town.engine.containers)) == (Slot.BLUE, before)
