"""What becomes of databases that were replaced."""

from __future__ import annotations

from dataclasses import replace

from backstay.domain.restore import Mark, Role
from backstay.domain.secret import Secret
from backstay.domain.slot import Slot
from backstay.domain.verdict import Traffic
from backstay.pipeline.replaced import prune_replaced, replaced
from tests.pipeline.conftest import Town

URL = Secret("postgresql://u:hunter2secret@db/shop")
DAY_S = 86400.0


def pruned(town: Town) -> list[str]:
    told: list[str] = []
    gone = prune_replaced(town.world, town.environment, URL, lambda kind, message: told.append(kind))
    assert told == ["database_dropped"] * len(gone)
    return [row.beside.name for row in gone]


def test_what_was_replaced_stays_for_its_time_and_no_longer(town: Town) -> None:
    backup = town.deploy("v1").backup
    assert backup is not None
    assert town.restore(backup).exit_status == 0
    [row] = replaced(town.world, town.environment, URL)
    assert (row.beside.name, row.expired) == ("shop_before_d2", False)
    assert row.as_document()["role"] == "before" and row.as_document()["bytes"] > 0
    assert pruned(town) == []
    town.clock.sleep(7 * DAY_S + 1)
    assert replaced(town.world, town.environment, URL)[0].expired
    assert pruned(town) == ["shop_before_d2"] and town.clusters.beside == {}


def test_the_time_is_a_key_of_the_policy(town: Town) -> None:
    town.policy = replace(town.policy, keep_replaced_s=10.0)
    town.deploy("v1")
    town.deploy("v2", maintenance=True)
    town.clock.sleep(11)
    assert pruned(town) == ["shop_before_d2"]


def test_the_copy_of_one_that_needs_a_person_waits_for_that_person(town: Town) -> None:
    town.deploy("v1")
    town.router.traffic_of[Slot.GREEN] = Traffic(requests=100, errors=20)
    assert town.deploy("v2", maintenance=True).exit_status == 21
    town.clock.sleep(30 * DAY_S)
    assert pruned(town) == []
    town.router.traffic_of.clear()
    assert town.deploy("v3").exit_status == 0
    assert pruned(town) == ["shop_before_d2"]


def test_a_restored_one_that_was_left_behind_goes_at_once_and_another_environments_never(town: Town) -> None:
    town.deploy("v1")
    left = Mark("shop", "dev", "d0", Role.RESTORED, "shop", "2026-11-23T10:00:00.000Z")
    town.clusters.marks = {"a": left, "b": replace(left, environment="prod")}
    assert [row.beside.name for row in replaced(town.world, town.environment, URL)] == ["a"]
    assert len(pruned(town)) == 1 and "b" in town.clusters.marks


def test_one_that_cannot_be_dropped_is_told_and_stays(town: Town) -> None:
    town.deploy("v1")
    town.deploy("v2", maintenance=True)
    town.clock.sleep(8 * DAY_S)
    town.clusters.fault = "the server is shutting down"
    told: list[str] = []
    assert prune_replaced(town.world, town.environment, URL, lambda kind, message: told.append(message)) == []
    assert "shutting down" in told[0] and town.clusters.beside == {"shop_before_d2": "before"}
