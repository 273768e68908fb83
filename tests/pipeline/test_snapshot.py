"""A snapshot holds the whole state, is taken before anything is changed, and holds no secret."""

from __future__ import annotations

import json

from backstay.domain.snapshot import differences
from backstay.pipeline.snapshot import snapshot
from tests.pipeline.conftest import Town


def test_it_tells_what_ran_and_served_before(town: Town) -> None:
    town.deploy("v1")
    before = snapshot(town.world, town.environment, {})
    ended = town.deploy("v2")
    [step] = [s for s in town.store.steps(ended.id) if s.name == "snapshot"]
    taken = step.result["snapshot"]
    assert taken["slots"]["live"] and taken["router"]["weights"]
    assert {c["labels"]["backstay.component"] for c in taken["containers"].values()} == {
        "backend",
        "frontend",
    }
    # the lease's token is the deployment's own; the rest is as it was before
    changed = [d.path for d in differences(before, taken)]
    assert [path for path in changed if path != "router.token"] == []
    assert "hunter2secret" not in json.dumps(taken) and "k-123456" not in json.dumps(taken)


def test_the_difference_to_what_is_now_names_the_switch(town: Town) -> None:
    town.deploy("v1")
    ended = town.deploy("v2")
    [step] = [s for s in town.store.steps(ended.id) if s.name == "snapshot"]
    found = {
        d.path: (d.before, d.after)
        for d in differences(step.result["snapshot"], snapshot(town.world, town.environment, {}))
    }
    was, live = found["slots.live"]
    assert {was, live} == {"blue", "green"}
    assert f"slots.{live}.version" in found


def test_an_engine_that_is_down_is_part_of_the_state(town: Town) -> None:
    town.deploy("v1")
    town.engine.down = True
    assert "unknown" in snapshot(town.world, town.environment, {})["containers"]
