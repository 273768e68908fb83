"""What differs between records and world, and which cure it gets."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from backstay.domain.drift import Cure, Drift, SeenContainer, SeenRouter, drifts
from backstay.domain.slot import Placement, Slot, SlotMapping, Slots

BLUE, GREEN = Slot.BLUE, Slot.GREEN


def standing(slot: Slot, first_port: int) -> SlotMapping:
    names = ("backend", "frontend")
    placements = {
        n: Placement(n, f"{slot}-{n}", f"shop-{slot}-{n}", first_port + i, "v1") for i, n in enumerate(names)
    }
    return SlotMapping(f"r-{slot}", "v1", placements, "d1", "2026-03-01T12:00:00.000Z")


SLOTS = Slots(GREEN, {BLUE: standing(BLUE, 100), GREEN: standing(GREEN, 200)})
GOOD = SeenRouter(
    running=True,
    weights={BLUE: 0, GREEN: 100},
    recorded={BLUE: 0, GREEN: 100},
    addresses={
        slot: {n: f"127.0.0.1:{p.port}" for n, p in mapping.placements.items()}
        for slot, mapping in SLOTS.mappings.items()
    },
    up={slot: frozenset(mapping.placements) for slot, mapping in SLOTS.mappings.items()},
)
RUNNING: dict[str, SeenContainer | None] = {
    p.container: SeenContainer(True, None, p.port)
    for m in SLOTS.mappings.values()
    for p in m.placements.values()
}


def cures(
    router: SeenRouter = GOOD,
    *,
    settled: bool = True,
    binds: frozenset[str] = frozenset(),
    **containers: SeenContainer | None,
) -> list[Drift]:
    changed = {name.replace("_", "-"): seen for name, seen in containers.items()}
    return drifts(SLOTS, router, {**RUNNING, **changed}, settled=settled, binds=binds)


def only(found: list[Drift]) -> tuple[str, Cure | None]:
    [drift] = found
    return drift.what, drift.cure


def test_a_world_as_recorded_has_no_drift_and_neither_has_an_empty_environment() -> None:
    assert cures() == []
    assert drifts(Slots(), SeenRouter(running=False), {}) == []


def test_a_router_that_is_gone_or_unkept_is_started() -> None:
    assert only(cures(SeenRouter(running=False))) == ("router", Cure.ENSURE_ROUTER)
    assert only(cures(replace(GOOD, kept=False))) == ("router", Cure.ENSURE_ROUTER)


def test_traffic_anywhere_but_in_the_live_slot_is_led_back() -> None:
    for blue in (100, 50, 1):
        assert only(cures(replace(GOOD, weights={BLUE: blue, GREEN: 100 - blue}))) == ("weights", Cure.FLIP)


def test_a_file_that_would_lead_elsewhere_after_a_restart_is_written_anew() -> None:
    assert only(cures(replace(GOOD, recorded={BLUE: 100, GREEN: 0})))[1] is Cure.ENSURE_ROUTER


def test_a_router_that_listens_anywhere_but_where_it_is_to_is_led_back() -> None:
    wanted = frozenset({"127.0.0.1:8080", "172.30.0.1:8080"})
    for seen in (frozenset({"127.0.0.1:8080"}), wanted | {"*:9090"}, frozenset({"*:9090"}), frozenset[str]()):
        listening = replace(GOOD, binds=seen)
        assert only(cures(listening, binds=wanted)) == ("router binds", Cure.LISTEN)
        assert cures(listening, binds=wanted, settled=False) == [] == cures(listening)
    assert cures(replace(GOOD, binds=wanted), binds=wanted) == []
    assert cures(GOOD, binds=wanted) == [], "nobody tells where it listens"
    assert only(cures(SeenRouter(running=False), binds=wanted)) == ("router", Cure.ENSURE_ROUTER)


def test_addresses_that_the_router_has_wrong_are_told_again() -> None:
    for slot in Slot:
        wrong = {**GOOD.addresses, slot: {**GOOD.addresses[slot], "backend": "127.0.0.1:9"}}
        assert only(cures(replace(GOOD, addresses=wrong))) == (
            f"router addresses of {slot}",
            Cure.LOAD_ROUTER,
        )
        missing = {other: known for other, known in GOOD.addresses.items() if other is not slot}
        assert only(cures(replace(GOOD, addresses=missing)))[1] is Cure.LOAD_ROUTER


def test_a_container_that_stopped_is_started_in_either_slot() -> None:
    for slot, code in product(Slot, (0, 137, None)):
        found = drifts(SLOTS, GOOD, {**RUNNING, f"{slot}-backend": SeenContainer(False, code, 1)})
        assert only(found) == (f"container shop-{slot}-backend", Cure.START)


def test_a_container_that_is_gone_empties_the_standby_slot_and_never_the_live_one() -> None:
    assert only(cures(blue_backend=None))[1] is Cure.FORGET
    assert only(cures(green_backend=None))[1] is None


def test_a_port_that_changed_is_recorded() -> None:
    assert only(cures(green_frontend=SeenContainer(True, None, 999))) == ("port of frontend", Cure.READDRESS)


def test_a_server_that_is_down_is_told_and_has_no_cure_of_its_own() -> None:
    down = replace(GOOD, up={GREEN: frozenset({"backend"})})
    assert only(cures(down)) == ("router servers", None)


def test_an_engine_that_told_nothing_of_a_container_judges_none() -> None:
    assert drifts(SLOTS, GOOD, {}) == []


def test_while_a_deployment_is_under_way_the_slot_it_fills_is_not_compared() -> None:
    unsettled = replace(GOOD, addresses={GREEN: GOOD.addresses[GREEN]}, recorded={BLUE: 100, GREEN: 0})
    assert cures(unsettled, settled=False, blue_backend=None) == []
    assert only(cures(settled=False, green_backend=SeenContainer(False)))[1] is Cure.START
