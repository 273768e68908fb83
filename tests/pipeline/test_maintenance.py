"""Stories of migrations that the old release cannot live with: nobody writes while they run, and nothing is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backstay.domain.deployment import DeploymentState
from backstay.domain.secret import Secret
from backstay.domain.slot import Slot
from backstay.domain.smoke import Answer
from backstay.domain.verdict import Traffic
from backstay.errors import CheckFailed, RouterError
from backstay.ports.cluster import Visitor
from backstay.ports.router import Hold
from tests.pipeline.conftest import Town

BACK = ("database_restored", "release_back", "requests_released")
URL = Secret("postgresql://u:hunter2secret@db/shop")


def steps(town: Town, deployment: str) -> list[str]:
    return [step.name for step in town.store.steps(deployment)]


def rows(town: Town) -> int:
    return town.database.content(URL, 1).rows


def test_requests_are_held_from_before_the_copy_until_the_new_release_is_proven(town: Town) -> None:
    town.deploy("v1")
    old = dict(town.engine.containers)
    held: dict[str, Hold | None] = {}
    stopped: list[bool] = []

    def look(what: str) -> None:
        held[what] = town.router.held

    engine_run = town.engine.run

    def run(spec):  # type: ignore[no-untyped-def]
        if "migrate" in spec.name:
            look("migrate")
            stopped.append(all(not town.engine.containers[id_].running for id_ in old))
        return engine_run(spec)

    town.engine.run = run  # type: ignore[method-assign]
    switch = town.router.switch

    def switched(to: Slot, token: int) -> float:
        look("switch")
        return switch(to, token)

    town.router.switch = switched  # type: ignore[method-assign]
    ended = town.deploy("v2", maintenance=True)
    assert ended.state is DeploymentState.SUCCEEDED
    assert held == {"migrate": Hold.ALL, "switch": Hold.ALL} and stopped == [True]
    assert town.router.held is None and town.router.holds == [Hold.ALL, None]
    assert town.serving == {"backend": "v2", "frontend": "v2"}
    assert town.clusters.beside == {"shop_before_d2": "before"}
    assert steps(town, ended.id) == [
        "check", "snapshot", "router", "pull", "backup", "hold", "quiesce", "copy", "migrate", "start", "stage",
        "health", "smoke", "switch", "public-smoke", "open", "bake", "retire",
    ]  # fmt: skip
    assert not set(old) & set(town.engine.containers), "the old release is stopped for good"
    assert town.store.slots("shop", "dev").standby is None


def test_without_the_option_nothing_is_held(town: Town) -> None:
    town.deploy("v1")
    ended = town.deploy("v2")
    assert "hold" not in steps(town, ended.id) and town.router.holds == []


def test_a_first_deploy_has_nobody_to_hold(town: Town) -> None:
    ended = town.deploy("v1", maintenance=True)
    assert ended.state is DeploymentState.SUCCEEDED and town.router.holds == []


@pytest.mark.parametrize("trouble", ["migration", "health", "smoke", "switch", "public"])
def test_a_failure_while_held_brings_database_and_release_back(town: Town, trouble: str) -> None:
    town.deploy("v1")
    old, before = {c.id for c in town.engine.containers.values()}, rows(town)
    known = town.engine.next_port
    migrated = town.engine.run

    def run(spec):  # type: ignore[no-untyped-def]
        if "migrate" in spec.name:
            town.database.write(URL, 5)
        return migrated(spec)

    town.engine.run = run  # type: ignore[method-assign]
    if trouble == "migration":
        town.engine.exit_codes["migrate"] = 1
    elif trouble == "health":
        town.prober.answer = lambda port, path: Answer(503 if port > known and path != "/" else 200)
    elif trouble == "smoke":
        town.prober.answer = lambda port, path: Answer(500 if port > known and "health" not in path else 200)
    elif trouble == "switch":
        town.router.sick.add(Slot.GREEN)
    else:
        town.prober.slot = lambda: "blue"
    ended = town.deploy("v2", maintenance=True)
    assert ended.state in (DeploymentState.FAILED, DeploymentState.ROLLED_BACK)
    assert ended.exit_status == 20
    assert rows(town) == before, "not one row more or less than before"
    assert town.clusters.beside == {"shop_failed_d2": "failed"}, (
        "what the migration made stays to be looked at"
    )
    assert town.serving == {"backend": "v1", "frontend": "v1"}
    assert {c.id for c in town.engine.containers.values() if c.running} == old, (
        "the very containers that served before"
    )
    assert town.router.held is None
    told = [kind for kind in town.kinds(ended.id) if kind in BACK]
    assert told == list(BACK), "first the database, then the release, then the people"


def test_a_copy_that_cannot_be_made_is_a_failed_backup_and_nothing_was_migrated(town: Town) -> None:
    town.deploy("v1")
    town.clusters.fault = "could not extend file: No space left on device"
    ended = town.deploy("v2", maintenance=True)
    assert ended.exit_status == 30 and ended.failed_step == "copy"
    assert "No space left" in (ended.reason or "")
    assert "migrate" not in steps(town, ended.id)
    assert town.serving == {"backend": "v1", "frontend": "v1"} and town.router.held is None


def test_a_role_without_the_right_is_refused_before_anybody_waits(town: Town) -> None:
    town.deploy("v1")
    town.clusters.unfit = "the role shop may not make a database beside shop"
    ended = town.deploy("v2", maintenance=True)
    assert ended.exit_status == 30 and ended.failed_step == "hold"
    assert town.router.holds == [] and ended.hint == "ALTER ROLE … CREATEDB"


def test_once_people_have_written_nothing_goes_back_by_itself(town: Town) -> None:
    town.deploy("v1")
    town.router.traffic_of[Slot.GREEN] = Traffic(requests=100, errors=20)
    ended = town.deploy("v2", maintenance=True)
    assert ended.state is DeploymentState.NEEDS_ATTENTION and ended.exit_status == 21
    assert "would lose what was written since" in (ended.reason or "")
    assert "--version v1" in (ended.hint or "")
    assert town.serving == {"backend": "v2", "frontend": "v2"}, "the better slot keeps serving"
    assert town.router.held is None
    assert town.clusters.beside == {"shop_before_d2": "before"}


def test_a_database_that_cannot_be_brought_back_is_served_to_nobody(town: Town) -> None:
    town.deploy("v1")

    def run(spec):  # type: ignore[no-untyped-def]
        if "migrate" in spec.name:
            town.clusters.fault = "the server is shutting down"
        return ran(spec)

    ran, town.engine.run = town.engine.run, run  # type: ignore[method-assign]
    town.engine.exit_codes["migrate"] = 1
    ended = town.deploy("v2", maintenance=True)
    assert ended.state is DeploymentState.NEEDS_ATTENTION and ended.exit_status == 21
    assert town.router.held is Hold.PAGE
    assert "copy" in (ended.reason or "")
    assert any("the server is shutting down" in e.message for e in town.store.events(ended.id))


def test_who_else_is_signed_in_is_named(town: Town) -> None:
    town.deploy("v1")
    town.clusters.visitors = [Visitor("cron", "psql", "10.0.0.9")]
    ended = town.deploy("v2", maintenance=True)
    told = [e for e in town.store.events(ended.id) if e.kind == "sessions_ended"]
    assert [e.data["sessions"] for e in told] == [["cron (psql) from 10.0.0.9"]]


def test_a_rollback_over_such_a_migration_is_refused_and_the_way_is_named(town: Town) -> None:
    town.deploy("v1")
    town.deploy("v2", maintenance=True)
    with pytest.raises(CheckFailed, match="v1 cannot live with") as caught:
        town.rollback()
    assert "backup restore dev ID --version v1" in (caught.value.hint or "")
    assert town.rollback(force=True).state is DeploymentState.SUCCEEDED


def test_a_router_that_cannot_hold_stops_it_before_anything_changed(town: Town) -> None:
    town.deploy("v1")

    def refuse(mode: Hold, deadline_s: float, token: int) -> None:
        raise RouterError("the hold did not take")

    town.router.hold = refuse  # type: ignore[method-assign]
    ended = town.deploy("v2", maintenance=True)
    assert ended.exit_status == 20 and ended.failed_step == "hold"
    assert town.clusters.beside == {} and town.serving == {"backend": "v1", "frontend": "v1"}


def test_the_deadline_of_the_policy_is_the_bound_of_the_wait(town: Town) -> None:
    town.policy = replace(town.policy, hold_deadline_s=7.0)
    town.deploy("v1")
    bounds: list[float] = []
    hold = town.router.hold

    def noted(mode: Hold, deadline_s: float, token: int) -> None:
        bounds.append(deadline_s)
        hold(mode, deadline_s, token)

    town.router.hold = noted  # type: ignore[method-assign]
    town.deploy("v2", maintenance=True)
    assert bounds == [7.0]
