"""Slots: where the next release goes, and which containers may never be removed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.domain.slot import Placement, Slot, SlotMapping, Slots, unreferenced

IDS = st.sampled_from([f"c{n}" for n in range(8)])
COMPONENTS = st.sampled_from(["backend", "frontend", "worker"])


def mapping(containers: dict[str, str], release: str = "r1") -> SlotMapping:
    placements = {
        name: Placement(name, container, f"shop-{name}", 20000, "v1")
        for name, container in containers.items()
    }
    return SlotMapping(release, "v1", placements, "d1", "2026-03-01T12:00:00.000Z")


MAPPINGS = st.dictionaries(COMPONENTS, IDS).map(mapping)
SLOTS = st.builds(Slots, st.none() | st.sampled_from(Slot), st.dictionaries(st.sampled_from(Slot), MAPPINGS))


@pytest.mark.parametrize(
    ("live", "target"), [(None, Slot.BLUE), (Slot.BLUE, Slot.GREEN), (Slot.GREEN, Slot.BLUE)]
)
def test_the_next_release_goes_where_nothing_serves(live: Slot | None, target: Slot) -> None:
    assert Slots(live).target is target


def test_a_deployment_enters_switches_and_empties() -> None:
    v1, v2 = mapping({"backend": "c1"}, "r1"), mapping({"backend": "c2"}, "r2")
    staged = Slots().entered(Slot.BLUE, v1).switched(Slot.BLUE).entered(Slot.GREEN, v2)
    assert staged.serving == v1 and staged.standby == v2
    switched = staged.switched(Slot.GREEN)
    assert switched.serving == v2 and switched.standby == v1
    assert switched.emptied(Slot.BLUE) == Slots(Slot.GREEN, {Slot.GREEN: v2})
    assert switched.emptied(Slot.GREEN) == Slots(None, {Slot.BLUE: v1})


def test_nothing_serves_in_a_new_environment() -> None:
    assert Slots().serving is None and Slots().standby is None


@given(st.sets(IDS), SLOTS)
def test_what_a_slot_refers_to_is_never_offered_for_removal(candidates: set[str], slots: Slots) -> None:
    offered = unreferenced(candidates, slots)
    referred = {p.container for m in slots.mappings.values() for p in m.placements.values()}
    assert not offered & referred
    assert offered | referred >= candidates
    assert offered <= candidates


@given(SLOTS, st.sampled_from(Slot), MAPPINGS)
def test_no_change_of_slots_alters_the_old_ones_or_the_other_slot(
    slots: Slots, slot: Slot, new: SlotMapping
) -> None:
    before = Slots(slots.live, dict(slots.mappings))
    for changed in (slots.entered(slot, new), slots.emptied(slot), slots.switched(slot)):
        assert changed.mappings.get(slot.other) == before.mappings.get(slot.other)
        assert slots == before
    assert slots.entered(slot, new).live == slots.live
    assert slot not in slots.emptied(slot).mappings
    assert slots.emptied(slot).live is not slot


@given(SLOTS)
def test_the_target_is_never_the_slot_that_serves(slots: Slots) -> None:
    assert slots.target is not slots.live
