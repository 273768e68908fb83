"""Death at every moment of every runbook: before, after and in the middle of every write and every call.

For each moment whose world differs from all before it, somebody recovers, and what must be true then is looked at.
Recovery dies as well, at each of its own moments.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backstay.domain.deployment import DeploymentKind, DeploymentState
from backstay.domain.slot import Slots
from tests.crash.conftest import Tally
from tests.crash.scenes import SCENES, Scene, mend
from tests.crash.town import APP, ENV, Key, Moment, Mortal

FEWEST_MOMENTS = 30
"""Per command; fewer mean that something is not watched any more. A deploy has some 240."""

FEWEST_WORLDS = 6

GATEWAY = "172.30.0.1"
"""Of the doubles' network."""

BACKED_UP = 3
"""Rows in the backup that a scene's first deployment makes."""

SAMPLE = 6
"""Without --long, so many of the worlds that a dying recovery leaves are recovered again, per scene."""


@pytest.fixture
def mortal() -> Iterator[Mortal]:
    shared_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="bs-", dir=shared_memory) as folder:
        made = Mortal(Path(folder))
        yield made
        made.close()


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_death_at_any_moment_is_recovered(
    mortal: Mortal, scene: Scene, tally: Tally, request: pytest.FixtureRequest
) -> None:
    known: set[Key] = set()
    ends: set[Key] = set()
    start = beginning(mortal, scene)
    is_long = request.config.getoption("--long")
    with mortal.dying(known, None if is_long else scene.since) as first:
        scene.act(mortal)
    seen = mortal.seen
    must_have_ended_well(mortal, scene, start, ends, "nobody died")
    second: list[Moment] = []
    for moment in first:
        recovered(mortal, scene, start, moment, known, ends, second)
    sampled = second if is_long else second[:: max(1, len(second) // SAMPLE)]
    for moment in sampled:
        recovered(mortal, scene, start, moment, known, ends, [])
    tally.add(seen, len(first), len(sampled))
    assert seen >= FEWEST_MOMENTS and len(first) >= FEWEST_WORLDS


def beginning(mortal: Mortal, scene: Scene) -> Slots:
    """What was before, and the trouble that comes now."""
    for version in scene.before:
        assert mortal.deploy(version).exit_status == 0
    start = mortal.slots
    mortal.is_new = start.live is None
    scene.trouble(mortal)
    mortal.was = mortal.rows
    return start


def recovered(
    mortal: Mortal,
    scene: Scene,
    start: Slots,
    moment: Moment,
    known: set[Key],
    ends: set[Key],
    more: list[Moment],
) -> None:
    """Recover from that moment; moments of the recovery itself go to `more`."""
    mortal.back(moment)
    assert scene.broken or not mortal.faults(), (moment.what, mortal.faults())
    with mortal.dying(known) as found:
        mortal.recover()
    more += found
    must_have_ended_well(mortal, scene, start, ends, moment.what)


def must_have_ended_well(mortal: Mortal, scene: Scene, start: Slots, ends: set[Key], died: str) -> None:
    """One version serves and everybody agrees on it, nothing is left over, and life goes on."""
    last, slots, router = mortal.last(), mortal.slots, mortal.town.router
    assert mortal.store.lease(APP, ENV) is None, died
    assert last is None or last.state.is_final, (died, last)
    assert not mortal.faults(), (died, mortal.faults())
    assert router.live is slots.live or slots.live is None, (died, router.live, slots.live)
    assert router.filed is router.live, died
    assert max(mortal.migrations().values(), default=0) <= 1, (died, mortal.migrations())
    assert not [path for path in mortal.town.database.files if path.name.endswith(".partial")], died
    must_serve_what_the_end_says(mortal, scene, start, died)
    must_listen_where_the_last_good_one_said(mortal, scene, died)
    nothing_is_left_over(mortal, died)
    next_deploy_works(mortal, ends, died)


def must_serve_what_the_end_says(mortal: Mortal, scene: Scene, start: Slots, died: str) -> None:
    last, slots = mortal.last(), mortal.slots
    if last is None or last.id not in {m.deployment for m in slots.mappings.values()} | {
        f"d{len(scene.before) + 1}"
    }:
        return
    if last.kind is DeploymentKind.RESTORE:
        swapped = last.state is DeploymentState.SUCCEEDED
        assert mortal.rows == (BACKED_UP if swapped else mortal.was), (died, last, mortal.rows)
    if last.state is DeploymentState.SUCCEEDED:
        assert slots.serving is not None and slots.serving.release == last.release, died
        if last.kind is DeploymentKind.ROLLBACK:
            assert last.exit_status == 0
        return
    if last.state is DeploymentState.NEEDS_ATTENTION:
        assert scene.stuck, (died, last.reason)
        assert last.exit_status == 21
        return
    forgotten = scene.forgets and slots == start.emptied(start.target)
    assert slots == start or forgotten, (died, last, slots)


def must_listen_where_the_last_good_one_said(mortal: Mortal, scene: Scene, died: str) -> None:
    """And nowhere else, unless nobody can say which one is good."""
    history = mortal.store.history(APP, ENV)
    good = next((d for d in reversed(history) if d.state is DeploymentState.SUCCEEDED), None)
    settings = mortal.store.environment_of(good.id) if good else None
    binds = mortal.town.router.binds
    if settings is not None:
        wanted = set(settings.binds(GATEWAY))
        assert wanted <= binds if scene.stuck else wanted == binds, (died, binds)


def nothing_is_left_over(mortal: Mortal, died: str) -> None:
    wanted = {c for mapping in mortal.slots.mappings.values() for c in mapping.containers}
    there = mortal.town.engine.containers
    assert set(there) == wanted, (died, [c.name for c in there.values() if c.id not in wanted])
    assert all(container.running for container in there.values()), died
    assert not mortal.town.scratches.left, (died, mortal.town.scratches.left)
    assert not mortal.town.engine.networks({"backstay.role": "rehearsal"}), died
    beside = mortal.town.clusters.beside
    assert "restored" not in beside.values(), (died, beside)
    assert mortal.town.router.held is None, died


def next_deploy_works(mortal: Mortal, ends: set[Key], died: str) -> None:
    """Ends that look alike are tried once."""
    history = tuple((d.kind, d.state, d.release) for d in mortal.store.history(APP, ENV))
    key = (history, mortal.key()[4:])
    if key in ends:
        return
    ends.add(key)
    here = mortal.keep("end", ())
    trouble = mortal.town.prober.answer, mortal.town.prober.slot, mortal.clock.on_tick
    mend(mortal)
    ended = mortal.deploy("v9")
    assert ended.exit_status == 0, (died, ended.reason, ended)
    assert {p.version for p in mortal.slots.serving.placements.values()} == {"v9"}  # type: ignore[union-attr]
    assert not mortal.faults(), died
    nothing_is_left_over(mortal, died)
    mortal.back(here)
    mortal.town.prober.answer, mortal.town.prober.slot, mortal.clock.on_tick = trouble
