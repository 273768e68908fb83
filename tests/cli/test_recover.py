"""`recover` as it is typed: what it refuses, what it would do, what it says, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from backstay import wiring
from backstay.adapters.clock import SystemClock
from backstay.adapters.store import open_store
from backstay.domain.deployment import DeploymentState
from backstay.domain.lease import Owner, Presence
from backstay.domain.plan import Plan, deploy_origins
from backstay.domain.recovery import FORMAT
from backstay.domain.slot import Slot, SlotMapping, Slots
from backstay.domain.step import StepState
from backstay.pipeline.record import as_record
from backstay.ports.router import SlotRoutes
from backstay.testing import FakeEngine, FakeHost, FakeProber, FakeRouter
from tests.cli.conftest import Backstay
from tests.store.samples import (
    APP,
    ENV,
    StillClock,
    begun,
    deployment,
    environment,
    release,
    slots,
    store_at,
)

GONE = Owner("anna", "here", 99, 99, "boot")


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> FakeRouter:
    """The world outside in memory: blue has the traffic, the worker of process 99 is dead."""
    made, host = FakeRouter(), FakeHost()
    host.presences[GONE.pid] = Presence.GONE
    made.running, made.live, made.filed, made.token = True, Slot.BLUE, Slot.BLUE, 1
    made.loaded = {slot: SlotRoutes() for slot in Slot}
    monkeypatch.setattr(wiring, "engine", lambda *_: FakeEngine())
    monkeypatch.setattr(wiring, "router", lambda where, app, environment: made)
    monkeypatch.setattr(wiring, "prober", FakeProber)
    monkeypatch.setattr(wiring, "host", lambda: host)
    return made


def left(home: Path, record: dict[str, object], *steps: str) -> None:
    """A deploy of v2 over v1 whose worker died after these steps."""
    home.mkdir(exist_ok=True)
    with closing(store_at(home / "state.db", StillClock())) as store:
        old = begun(store, "d1", "v1")
        for state in (DeploymentState.RUNNING, DeploymentState.SUCCEEDED):
            store.move(old.token, "d1", state)
        store.release_lease(old)
        blue = replace(slots().mappings[Slot.BLUE], release=release().id)
        before, new = Slots(Slot.BLUE, {Slot.BLUE: blue}), release("v2")
        plan = Plan(deployment().kind, new, release(), deploy_origins(new, (), before), before)
        recorded = {**as_record(plan, "n0nce", "backstay.yml", {}), **record}
        made = replace(deployment("d2", "v2"), previous=release().id)
        lease = store.begin(made, new, environment(), GONE, "deploy v2", recorded)
        store.move(lease.token, "d2", DeploymentState.RUNNING)
        for step in steps:
            store.step(lease.token, "d2", step, StepState.DONE)
        green = SlotMapping(new.id, "v2", blue.placements, "d2", blue.since)
        store.save_slots(
            lease.token, APP, ENV, before.entered(Slot.GREEN, green) if "stage" in steps else before
        )


@pytest.fixture
def dead(home: Path) -> Iterator[None]:
    left(home, {}, "check", "start", "stage", "health", "smoke", "switch")
    yield


def test_a_dead_worker_is_told_with_what_recovery_would_do_and_why(
    backstay: Backstay, home: Path, router: FakeRouter, dead: None
) -> None:
    router.live = Slot.GREEN
    before = (home / "state.db").read_bytes()
    done = backstay("recover", ENV, "--dry-run", "--json")
    assert (done.status, done.document["decision"]["course"]) == (20, "undo")
    assert "it died in switch" in done.document["decision"]["why"]
    said = backstay("recover", ENV, "--dry-run").out
    assert f"{ENV}: the worker of d2 (v2) is dead; recovery would go undo" in said
    assert "backstay recover prod → undo" in backstay("status", ENV).out
    assert (home / "state.db").read_bytes() == before


def test_what_a_newer_backstay_began_is_refused_and_given_up_only_by_hand(
    backstay: Backstay, home: Path, router: FakeRouter
) -> None:
    left(home, {"format": FORMAT + 1, "backstay": "9.1"}, "check")
    for command in (("recover", ENV), ("recover",), ("deploy", ENV, "--version", "v3"), ("abort", ENV)):
        done = backstay(*command)
        assert done.status == 21, done
        assert "Backstay 9.1" in done.out + done.err and "--give-up" in done.out + done.err
    foreseen = backstay("status", ENV, "--json").document["deployment"]["recovery"]
    assert foreseen["course"] is None and "format" in foreseen["why"]
    done = backstay("recover", ENV, "--give-up", "--json")
    assert (done.status, done.document["recovered"]["state"]) == (21, "needs_attention")
    assert backstay("recover", ENV, "--dry-run").status == 0


def test_giving_up_needs_one_environment_with_something_to_give_up(
    backstay: Backstay, home: Path, router: FakeRouter, dead: None
) -> None:
    assert backstay("recover", "--give-up").status == 2
    assert backstay("recover", ENV, "--give-up", "--dry-run").status == 2
    assert backstay("recover", "dev", "--give-up").status == 2
    assert backstay("recover", "nowhere").status == 2


def test_a_deployment_whose_worker_lives_is_left_alone(
    backstay: Backstay, home: Path, router: FakeRouter, dead: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = FakeHost()
    monkeypatch.setattr(wiring, "host", lambda: alive)
    with closing(open_store(home / "state.db", SystemClock())) as store:
        held = store.lease(APP, ENV)
        assert held is not None
        store.heartbeat(held)
    for words in (("recover", ENV), ("recover", ENV, "--dry-run")):
        done = backstay(*words)
        assert done.status == 0 and f"{ENV}: left alone:" in done.out


def test_where_nothing_ever_was_there_is_nothing_to_recover(
    backstay: Backstay, home: Path, router: FakeRouter
) -> None:
    assert backstay("recover", "dev").out == "dev: nothing to recover\n"
    rows = backstay("recover", "--json").document
    assert [row["exit_status"] for row in rows] == [0] * len(rows) and len(rows) > 1
