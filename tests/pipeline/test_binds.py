"""Stories of a router that is to listen elsewhere: nobody who was served stops being served by a failure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backstay.domain.deployment import Wish
from backstay.domain.drift import Cure
from backstay.domain.environment import Bind
from backstay.domain.smoke import Answer
from backstay.domain.verdict import Traffic
from backstay.pipeline.begin import Beginner
from backstay.pipeline.maintain import Order, maintain
from backstay.pipeline.status import status
from tests.pipeline.conftest import PUBLIC_PORT, Town
from tests.pipeline.test_recover import die_in, recovered

OLD, NEW = Bind("127.0.0.1", PUBLIC_PORT), Bind("127.0.0.1", 9090)
GATEWAY = "172.30.0.1"
AT_OLD = {OLD, Bind(GATEWAY, PUBLIC_PORT)}
AT_NEW = {NEW, Bind(GATEWAY, 9090)}


@pytest.fixture
def moved(town: Town) -> Town:
    """v1 serves at the old address; backstay.yml names another one by now."""
    assert town.deploy("v1").exit_status == 0
    assert town.router.binds == AT_OLD
    town.bind = NEW
    return town


def never_healthy(town: Town) -> None:
    """Whatever starts from now on."""
    known = town.engine.next_port
    town.prober.answer = lambda port, path: Answer(503 if port > known and port != 9090 else 200)


def drift_of(town: Town) -> list[dict[str, object]]:
    found: list[dict[str, object]] = status(town.world, "shop", "dev")["drift"]  # type: ignore[arg-type]
    return found


def order(town: Town) -> Order:
    starting = Beginner(town.store, town.host, town.clock, lambda lease, deployment: None)
    return maintain(starting, "shop", "dev", lambda environment: town.world)


def listened(town: Town) -> dict[str, set[Bind]]:
    """Where the router listens while each step of what comes now is done, filled as it comes."""
    seen: dict[str, set[Bind]] = {}
    step = town.store.step

    def told(token: int, id_: str, name: str, *rest: object, **more: object) -> None:
        seen.setdefault(name, set(town.router.binds))
        step(token, id_, name, *rest, **more)  # type: ignore[arg-type]

    town.store.step = told  # type: ignore[method-assign, assignment]
    return seen


def test_the_old_address_is_served_until_the_release_is_proven_and_the_new_one_is_asked(moved: Town) -> None:
    seen = listened(moved)
    moved.prober.asked.clear()
    ended = moved.deploy("v2")
    assert ended.exit_status == 0 and seen["router"] == AT_OLD
    assert all(
        seen[step] == AT_OLD | AT_NEW for step in ("start", "switch", "public-smoke", "bake", "retire")
    )
    assert moved.router.binds == AT_NEW and drift_of(moved) == []
    asked = {port for port, _ in moved.prober.asked}
    assert 9090 in asked and PUBLIC_PORT not in asked
    [told] = [e.message for e in moved.store.events(ended.id) if e.kind == "binds_dropped"]
    assert "127.0.0.1:8080" in told and "172.30.0.1:8080" in told


@pytest.mark.parametrize("step", ["health", "bake"])
def test_a_release_that_fails_leaves_the_router_where_it_listened(moved: Town, step: str) -> None:
    if step == "health":
        never_healthy(moved)
    else:
        moved.router.traffic_of[moved.store.slots("shop", "dev").target] = Traffic(requests=100, errors=20)
    seen = listened(moved)
    ended = moved.deploy("v2")
    assert (ended.exit_status, ended.failed_step) == (20, step)
    assert seen[step] == AT_OLD | AT_NEW and moved.router.binds == AT_OLD
    assert moved.serving == {"backend": "v1", "frontend": "v1"} and drift_of(moved) == []


def test_an_address_that_somebody_else_has_changes_nothing(moved: Town) -> None:
    moved.router.taken = {9090}
    moved.policy = replace(moved.policy, accept=("bind",))
    assert moved.deploy("v2").exit_status in (10, 20)
    assert moved.router.binds == AT_OLD and drift_of(moved) == []


def test_an_address_that_cannot_be_had_any_more_keeps_nobody_from_the_new_one(moved: Town) -> None:
    """As after a reboot, when somebody else was quicker."""
    moved.router.stop()
    moved.router.taken = {PUBLIC_PORT}
    ended = moved.deploy("v2")
    assert ended.exit_status == 0 and moved.router.binds == AT_NEW
    assert moved.kinds(ended.id).count("bind_lost") == 2


def test_another_network_is_another_gateway_and_a_failure_keeps_the_old_one(town: Town) -> None:
    town.engine.gateways = {"old": "172.30.0.1", "new": "172.31.0.1"}
    town.network = "old"
    assert town.deploy("v1").exit_status == 0
    town.network = "new"
    fine = town.prober.answer
    never_healthy(town)
    assert town.deploy("v2").exit_status == 20
    assert town.router.binds == AT_OLD and drift_of(town) == []
    town.prober.answer = fine
    assert town.deploy("v3").exit_status == 0
    assert town.router.binds == {OLD, Bind("172.31.0.1", PUBLIC_PORT)} and drift_of(town) == []


@pytest.mark.parametrize("acted", [False, True], ids=["before it listened", "after it listened"])
def test_who_dies_while_the_router_moves_leaves_enough_to_go_back(
    moved: Town, acted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = die_in(moved, "router", acted, monkeypatch)
    assert moved.router.binds == (AT_OLD | AT_NEW if acted else AT_OLD)
    assert recovered(moved, run).exit_status == 20
    assert moved.router.binds == AT_OLD and drift_of(moved) == []


def test_a_deployment_that_nobody_can_judge_keeps_both_addresses_until_the_next_is_proven(
    moved: Town,
) -> None:
    """It turns out bad when the slot before it is dead: both may be asked for, so both are served."""
    serving = moved.store.slots("shop", "dev").serving
    assert serving is not None
    old = {p.port for p in serving.placements.values()}
    moved.prober.answer = lambda port, path: (
        Answer(error="refused") if port in old else Answer(200, took_s=0.01)
    )
    moved.router.traffic_of[moved.store.slots("shop", "dev").target] = Traffic(requests=100, errors=20)
    assert moved.deploy("v2").exit_status == 21
    assert moved.router.binds == AT_OLD | AT_NEW
    assert [d for d in drift_of(moved) if d["what"] == "router binds"] == []
    moved.router.traffic_of.clear()
    assert moved.deploy("v3").exit_status == 0
    assert moved.router.binds == AT_NEW


def test_a_rollback_listens_where_backstay_yml_says_and_so_does_recovery_after_a_reboot(moved: Town) -> None:
    """The containers that serve were born at the old address; that says nothing about the router."""
    assert moved.deploy("v2").exit_status == 0
    assert moved.rollback().exit_status == 0
    assert moved.serving == {"backend": "v1", "frontend": "v1"} and moved.router.binds == AT_NEW
    moved.router.stop()
    assert [d.what for d in order(moved).cured] == ["router"]
    assert moved.router.binds == AT_NEW and drift_of(moved) == []


def test_a_warm_rollback_to_another_address_asks_no_engine(moved: Town) -> None:
    moved.bind = OLD
    assert moved.deploy("v2").exit_status == 0
    moved.bind = NEW
    moved.engine.down = True
    ended = moved.rollback()
    assert ended.exit_status == 0 and moved.router.binds == AT_NEW


def test_a_router_that_listens_elsewhere_is_drift_and_is_led_back(moved: Town) -> None:
    moved.router.binds = frozenset({NEW})
    [drift] = drift_of(moved)
    assert drift == {
        "what": "router binds", "expected": "127.0.0.1:8080, 172.30.0.1:8080", "found": "127.0.0.1:9090",
        "cure": Cure.LISTEN.value,
    }  # fmt: skip
    assert [d.cure for d in order(moved).cured] == [Cure.LISTEN]
    assert moved.router.binds == AT_OLD and drift_of(moved) == []


def test_what_could_not_be_dropped_is_dropped_by_recover(moved: Town) -> None:
    ensure = moved.router.ensure

    def refusing(binds: tuple[Bind, ...], nonce: str, token: int) -> None:
        if set(binds) == AT_NEW:
            moved.router.kept = False  # the holder is gone just then
            return
        ensure(binds, nonce, token)

    moved.router.ensure = refusing  # type: ignore[method-assign]
    assert moved.deploy("v2").exit_status == 0
    moved.router.ensure = ensure  # type: ignore[method-assign]
    assert moved.router.binds == AT_OLD | AT_NEW
    order(moved)
    assert moved.router.binds == AT_NEW and drift_of(moved) == []


def test_a_deployment_reversed_by_hand_in_its_bake_goes_back_to_the_old_address(moved: Town) -> None:
    def wish(elapsed_s: float) -> None:
        last = moved.store.history("shop", "dev")[-1]
        if any(r.name == "bake" for r in moved.store.steps(last.id)) and not last.state.is_final:
            moved.store.ask(last.id, Wish.ROLLBACK)

    moved.clock.on_tick = wish
    assert moved.deploy("v2").exit_status == 20
    assert moved.router.binds == AT_OLD and drift_of(moved) == []
