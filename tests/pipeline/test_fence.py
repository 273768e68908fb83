"""An owner that lost its lease cannot act: neither on the engine nor on the router, at whatever moment it lost it."""

from __future__ import annotations

import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from backstay.domain.deployment import DeploymentState
from backstay.domain.environment import Bind
from backstay.domain.lease import Lease
from backstay.domain.restore import Mark, Role
from backstay.domain.secret import Secret
from backstay.domain.slot import Slot
from backstay.errors import LeaseLost, StoreError
from backstay.pipeline.deploy import deploy
from backstay.pipeline.fence import Fence, FencedCluster, FencedEngine, FencedRouter, fenced
from backstay.pipeline.resolve import plan_deploy
from backstay.pipeline.run import Run
from backstay.pipeline.steps import start
from backstay.ports.cluster import Cluster
from backstay.ports.engine import ContainerSpec, Engine
from backstay.ports.router import Hold, Router
from tests.pipeline.conftest import OWNER, Town

URL = Secret("postgresql://u:hunter2secret@db/shop")
MARK = Mark("shop", "dev", "d1", Role.RESTORED, "shop", "2026-11-23T10:00:00.000Z")
THIEF = replace(OWNER, name="bert", pid=2)

ACTS: dict[str, tuple[Any, ...]] = {
    "pull": ("reg/shop", "v1", "sha256:" + "a" * 64, None),
    "network": ("shop-dev", True, {}),
    "remove_network": ("shop-dev", {}),
    "run": (ContainerSpec("c", "i", "n", {}),),
    "stop": ("c", 1.0),
    "remove": ("c",),
}
QUESTIONS: dict[str, tuple[Any, ...]] = {
    "info": (),
    "digest": ("reg/shop", "v1", None),
    "manifest": ("reg/shop", "v1", None),
    "sign_in": ("reg/shop", None),
    "missing_bytes": ("reg/shop", "sha256:" + "a" * 64, None),
    "held": ("reg/shop", "sha256:" + "a" * 64),
    "finds": ("reg/shop", "sh"),
    "free_ports": ((1, 2), 1),
    "inspect": ("c",),
    "find": ({"a": "b"},),
    "networks": ({"a": "b"},),
    "wait": ("c", 0.1),
    "logs": ("c", 1),
}
ROUTER_ACTS: dict[str, tuple[Any, ...]] = {
    "ensure": ((Bind("127.0.0.1", 1),), "n", 1),
    "load": ({}, 1),
    "expect": (Slot.GREEN, 1),
    "switch": (Slot.GREEN, 1),
    "hold": (Hold.ALL, 1.0, 1),
    "release": (1,),
    "drain": (Slot.GREEN, 0.1, 1),
    "stop": (),
}
ROUTER_QUESTIONS: dict[str, tuple[Any, ...]] = {
    "version": (),
    "refuse_taken": ((),),
    "state": (),
    "traffic": (Slot.GREEN, 1.0, 1.0),
}
CLUSTER_ACTS: dict[str, tuple[Any, ...]] = {
    "settle": ("d1",),
    "create": (MARK,),
    "copy": (MARK, 1.0),
    "swap": (MARK.name, replace(MARK, role=Role.BEFORE), None, 1.0),
    "end": ("shop",),
    "drop": (MARK,),
}
CLUSTER_QUESTIONS: dict[str, tuple[Any, ...]] = {
    "refuse_unfit": ("shop",),
    "exists": ("shop",),
    "beside": ("shop",),
    "writes": ("shop",),
    "loss": (URL, URL, (), 1.0, lambda: False),
}
UNASKED = {"wait_up"}
"""A question too, which in the double wants a loaded slot; the runbook asks it."""


ALL_ACTS = ACTS.keys() | ROUTER_ACTS.keys()


class Spy:
    """Passes everything on to a port and keeps the names of all `calls`; before act number `at` it does `then`."""

    def __init__(self, inner: Any, shared: dict[str, Any]) -> None:
        self._inner, self._shared = inner, shared

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._inner, name)
        if not callable(real):
            return real

        def call(*args: Any, **words: Any) -> Any:
            shared = self._shared
            shared["calls"].append(name)
            if name in ALL_ACTS and sum(call in ALL_ACTS for call in shared["calls"]) == shared["at"]:
                shared["then"]()
            return real(*args, **words)

        return call


def methods(port: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(port, inspect.isfunction) if not name.startswith("_")}


def test_every_call_of_these_ports_is_known_as_an_act_or_a_question() -> None:
    """A new one must be put on one side or the other."""
    assert methods(Engine) == ACTS.keys() | QUESTIONS.keys() == methods(FencedEngine)
    assert methods(Router) == ROUTER_ACTS.keys() | ROUTER_QUESTIONS.keys() | UNASKED == methods(FencedRouter)
    assert methods(Cluster) == CLUSTER_ACTS.keys() | CLUSTER_QUESTIONS.keys() == methods(FencedCluster)


@pytest.mark.parametrize("name", CLUSTER_ACTS)
def test_a_database_is_as_safe_from_who_lost_the_lease(town: Town, name: str) -> None:
    world, lease, _ = watched(town)
    cluster = world.clusters.at(URL, "d1")
    if name in ("swap", "drop"):
        cluster.create(MARK)
    getattr(cluster, name)(*CLUSTER_ACTS[name])
    steal(town, lease)
    beside = dict(town.clusters.marks)
    with pytest.raises(LeaseLost):
        getattr(cluster, name)(*CLUSTER_ACTS[name])
    assert town.clusters.marks == beside
    for question, arguments in CLUSTER_QUESTIONS.items():
        getattr(cluster, question)(*arguments)


@pytest.mark.parametrize("name", [*ACTS, *ROUTER_ACTS])
def test_an_act_under_a_lost_lease_reaches_nothing(town: Town, name: str) -> None:
    world, lease, shared = watched(town)
    port, arguments = (world.engine, ACTS[name]) if name in ACTS else (world.router, ROUTER_ACTS[name])
    getattr(port, name)(*arguments)
    assert shared["calls"] == [name], "while the lease is ours it passes"
    steal(town, lease)
    with pytest.raises(LeaseLost, match="token 1 is lost") as lost:
        getattr(port, name)(*arguments)
    assert "backstay status dev" in (lost.value.hint or "")
    assert shared["calls"] == [name]


@pytest.mark.parametrize("name", [*QUESTIONS, *ROUTER_QUESTIONS])
def test_a_question_is_answered_to_anybody(town: Town, name: str) -> None:
    world, lease, shared = watched(town)
    steal(town, lease)
    port, arguments = (
        (world.engine, QUESTIONS[name]) if name in QUESTIONS else (world.router, ROUTER_QUESTIONS[name])
    )
    getattr(port, name)(*arguments)
    assert shared["calls"] == [name]


def test_once_lost_it_is_not_even_asked_for_again(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the heartbeat found it out."""
    lost = threading.Event()
    lease = town.store.take_lease("shop", "dev", OWNER, "x", None)
    fence = Fence(town.store, lease, lost)
    fence.check()
    lost.set()
    monkeypatch.setattr(town.store, "lease", lambda app, environment: pytest.fail("asked"))
    with pytest.raises(LeaseLost):
        fence.check()


@pytest.mark.parametrize("how", ["freed", "handed on", "taken over"])
def test_however_it_was_lost(town: Town, how: str) -> None:
    lease = town.store.take_lease("shop", "dev", OWNER, "x", None)
    fence = Fence(town.store, lease)
    town.store.heartbeat(lease)
    fence.check()
    if how == "freed":
        town.store.release_lease(lease)
    elif how == "handed on":
        town.store.adopt(lease, THIEF)
    else:
        steal(town, lease)
    with pytest.raises(LeaseLost):
        fence.check()
    assert fence.lost.is_set()


def test_a_store_that_does_not_tell_lets_nobody_act(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(app: str, environment: str) -> Lease:
        raise StoreError("the store is gone")

    world, _, shared = watched(town)
    monkeypatch.setattr(town.store, "lease", gone)
    with pytest.raises(StoreError):
        world.engine.remove("c")
    assert shared["calls"] == []


def test_a_deployment_that_loses_its_lease_at_any_act_does_no_other(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stolen during each act in turn: that one was sent already; after it nothing is done on engine or router."""
    one_after_another = partial(ThreadPoolExecutor, 1)
    monkeypatch.setattr(start, "ThreadPoolExecutor", lambda max_workers: one_after_another())
    for version in ("v1", "v2"):  # so that there is something to retire
        assert town.deploy(version).state is DeploymentState.SUCCEEDED
    at, met = 0, set()
    while True:
        at += 1
        run, shared = watched_run(town, f"v{at + 2}", at)
        try:
            deploy(run)
        except LeaseLost:
            pass
        else:
            break
        acts = [name for name in shared["calls"] if name in ALL_ACTS]
        assert len(acts) == at, f"stolen at {acts[at - 1]}, and then: {acts[at:]}"
        met.add(acts[-1])
        recovered(town)
    assert {"run", "switch", "load", "expect", "ensure", "network", "stop", "remove"} <= met


def watched(town: Town) -> tuple[Any, Lease, dict[str, Any]]:
    lease = town.store.take_lease("shop", "dev", OWNER, "x", None)
    town.router.ensure((), "n", lease.token)
    shared: dict[str, Any] = {"calls": [], "at": 0, "then": lambda: None}
    world = replace(town.world, engine=Spy(town.engine, shared), router=Spy(town.router, shared))
    return fenced(world, Fence(town.store, lease)), lease, shared


def watched_run(town: Town, version: str, at: int) -> tuple[Run, dict[str, Any]]:
    plan = plan_deploy(
        town.application, version, (), False, town.store, lambda i, v: town.engine.digest(i, v, None)
    )
    run, lease = town.begin(plan)
    shared: dict[str, Any] = {"calls": [], "at": at, "then": lambda: steal(town, lease)}
    world = replace(town.world, engine=Spy(town.engine, shared), router=Spy(town.router, shared))
    run.world = fenced(world, Fence(town.store, lease))
    return run, shared


def steal(town: Town, lease: Lease) -> None:
    town.store.take_lease("shop", "dev", THIEF, "recover", lease.deployment, replaces=lease)


def recovered(town: Town) -> None:
    """What the thief does then: bring it to its end, and give the lease back."""
    from backstay.pipeline.record import from_record
    from backstay.pipeline.recover import recover

    held = town.store.lease("shop", "dev")
    assert held is not None and held.deployment is not None
    deployment = town.store.deployment(held.deployment)
    assert deployment is not None
    plan, nonce = from_record(deployment, town.store)
    recover(Run(deployment, plan, town.environment, held.token, nonce, town.world))
    town.store.release_lease(held)
