"""Going back on real parts, under load."""

from __future__ import annotations

import json
import time

import pytest

from tests.shop import Shop

pytestmark = pytest.mark.world

V1 = {"backend": "v1", "frontend": "v1"}
V2 = {"backend": "v2", "frontend": "v2"}


def test_a_warm_rollback_moves_all_traffic_and_fails_nothing(shop: Shop) -> None:
    shop.deploy("v1")
    shop.deploy("v2")
    before = set(shop.containers())
    with shop.load() as load:
        load.until(lambda seen: seen.requests > 30)
        answer = shop.run("rollback", "dev", "--json")
        moved = load.now()
        time.sleep(0.5)
        report = load.stop()
    assert (answer.status, answer.last["state"], answer.last["release"]) == (0, "succeeded", "v1")
    assert report.failed == 0, report.failures[:5]
    assert report.sent_after(moved, "v2") == []
    assert set(shop.containers()) == before
    assert shop.serving() == V1


def test_the_backend_alone_goes_back(shop: Shop) -> None:
    shop.deploy("v1")
    shop.deploy("v2")
    with shop.load() as load:
        load.until(lambda seen: seen.requests > 30)
        refused = shop.run("rollback", "dev", "backend")
        answer = shop.run("rollback", "dev", "backend", "--force", "--json")
        report = load.stop()
    assert (refused.status, answer.status) == (10, 0)
    assert "backend v1 with frontend v2" in refused.err
    assert report.failed == 0, report.failures[:5]
    assert shop.serving() == {"backend": "v1", "frontend": "v2"}
    assert len(shop.containers()) == 3


def test_a_cold_rollback_starts_from_the_recorded_digest_although_the_tag_moved(shop: Shop) -> None:
    for version in ("v1", "v2", "v4"):
        shop.deploy(version)
    assert shop.serving() == {"backend": "v4", "frontend": "v4"}
    digest = shop.history()[-1]["release_id"]
    answer = shop.run("rollback", "dev", "--to", "v1", "--json")
    assert answer.status == 0
    assert answer.last["release_id"] == digest
    assert shop.serving() == V1


def test_a_rollback_during_the_bake_flips_at_once(shop: Shop) -> None:
    shop.deploy("v1")
    shop.configure(bake="60s")
    deploying = shop.start("deploy", "dev", "--version", "v2")
    shop.until("baking")
    began = time.monotonic()
    answer = shop.run("rollback", "dev", "--json")
    took_s = time.monotonic() - began
    assert answer.status == 0
    assert deploying.wait(30) == 20
    ended = shop.history()[0]
    assert ended["state"] == "rolled_back" and ended["reason"] == "rolled back by hand"
    assert shop.serving() == V1
    assert took_s < 20
    shop.configure(bake="2s")
    assert shop.deploy("v2").status == 0


def test_a_rollback_before_the_switch_is_refused_and_names_abort(shop: Shop) -> None:
    shop.deploy("v1")
    shop.configure(deadline="60s")
    shop.deploy("v3", "--detach")
    refused = shop.run("rollback", "dev", "--json")
    assert refused.status == 11
    assert "backstay abort dev" in refused.last["hint"]
    assert shop.run("abort", "dev").status == 0
    assert shop.history()[0]["state"] == "aborted"
    assert shop.serving() == V1


def test_a_dead_target_keeps_the_live_slot_and_needs_a_human(shop: Shop) -> None:
    shop.deploy("v1")
    shop.deploy("v2")
    standby = shop.status()["standby"]["components"]["backend"]["container"]
    shop.world.docker("pause", standby)
    with shop.load(slow=0) as load:
        load.until(lambda seen: seen.requests > 20)
        shop.configure(deadline="3s")
        answer = shop.run("rollback", "dev", "--json")
        report = load.stop()
    shop.world.docker("unpause", standby)
    assert (answer.status, answer.last["state"]) == (21, "needs_attention")
    assert report.failed == 0 and set(report.by_release) == {"v2"}
    assert shop.serving() == V2


def test_with_nothing_earlier_there_is_nothing_to_go_back_to(shop: Shop) -> None:
    shop.deploy("v1")
    answer = shop.run("rollback", "dev", "--json")
    assert answer.status == 2
    assert "no earlier release" in json.loads(answer.out)["reason"]
