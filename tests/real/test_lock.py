"""The lock between real commands: racing deployments, and a person in their way."""

from __future__ import annotations

import json
import subprocess
from collections import Counter

import pytest

from tests.shop import Shop

pytestmark = pytest.mark.world


def test_of_eight_deployments_at_once_one_wins(shop: Shop) -> None:
    """With nothing deployed, no store and no router there when they start. The bake outlasts the slowest loser."""
    shop.configure(bake="5m")
    words = shop.argv("deploy", "dev", "--version", "v1", "--detach", "--json")
    racers = [
        subprocess.Popen(
            words, env=shop.env, cwd=shop.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]
    said = [racer.communicate(timeout=120) for racer in racers]
    assert Counter(racer.returncode for racer in racers) == {0: 1, 11: 7}, said
    held = json.loads(shop.run("lock", "show", "dev", "--json").out)
    who = held["owner"].partition(" ")[0]
    for racer, (_, told) in zip(racers, said, strict=True):
        if racer.returncode == 11:
            assert f"is locked by {who} " in told and "for deploy v1" in told, told
            assert f"since {held['acquired_at']}" in told
            assert "state: nothing was changed" in told and "backstay abort dev" in told
    assert [row["release"] for row in shop.history()] == ["v1"], "the losers left no trace"
    shop.until("baking")
    assert shop.run("abort", "dev").status == 0
    assert json.loads(shop.run("lock", "show", "dev", "--json").out) is None
    assert shop.containers() == []


def test_a_person_keeps_deployments_out_and_what_serves_goes_on(shop: Shop) -> None:
    assert shop.deploy("v1").status == 0
    before = sorted(shop.containers())
    taken = json.loads(shop.run("lock", "acquire", "dev", "--purpose", "move the database", "--json").out)
    assert shop.status()["lock"] == taken
    with shop.load(slow=0) as load:
        load.until(lambda seen: seen.requests > 20)
        for command in (["deploy", "dev", "--version", "v2"], ["rollback", "dev"]):
            answer = shop.run(*command)
            assert answer.status == 11, answer.err
            assert f"locked by {taken['owner']} for move the database" in answer.err
            assert "backstay lock release dev" in answer.err
        report = load.stop()
    assert report.failed == 0 and set(report.by_release) == {"v1"}
    assert sorted(shop.containers()) == before
    assert len(shop.history()) == 1
    assert shop.run("lock", "release", "dev").status == 0
    answer = shop.deploy("v2")
    assert answer.status == 0
    assert shop.serving() == {"backend": "v2", "frontend": "v2"}


def test_a_deployment_keeps_a_person_out_until_it_has_ended(shop: Shop) -> None:
    shop.configure(bake="30s")
    assert shop.run("deploy", "dev", "--version", "v1", "--wait", "switched").status == 0
    shop.until("baking")  # between the switch and the bake there is a smoke test
    refused = shop.run("lock", "acquire", "dev")
    assert refused.status == 11 and "for deploy v1, baking" in refused.err
    for words in (["lock", "release", "dev"], ["lock", "release", "dev", "--force"]):
        answer = shop.run(*words)
        assert answer.status == 11 and "backstay abort dev stops that safely" in answer.err
    shop.end_worker()
    answer = shop.run("lock", "release", "dev", "--force")
    assert answer.status == 11 and "its worker is dead: backstay recover dev" in answer.err
    assert shop.run("lock", "acquire", "dev").status == 11
    assert shop.run("abort", "dev").status == 0
    assert shop.run("lock", "acquire", "dev").status == 0
