"""Which containers may be removed, for every combination of what their labels and the records say."""

from __future__ import annotations

from itertools import product

import pytest

from backstay.domain.orphans import CHECK, CHECK_LASTS_S, Born, orphans
from backstay.domain.slot import Placement, Slot, SlotMapping, Slots

OURS = 17


def standing(*containers: str) -> SlotMapping:
    placements = {name: Placement(name, name, name, 1, "v1") for name in containers}
    return SlotMapping("r1", "v1", placements, "d1", "2026-03-01T12:00:00.000Z")


SLOTS = Slots(Slot.BLUE, {Slot.BLUE: standing("live"), Slot.GREEN: standing("warm")})
ENDED = {"old": True, "now": False, "stuck": False}


def removed(*born: Born, slots: Slots = SLOTS, current: str | None = "now") -> frozenset[str]:
    return orphans(born, slots, ENDED, OURS, current)


def test_what_a_slot_refers_to_stays_whatever_its_labels_say() -> None:
    for deployment, token, role in product(("old", "gone", None), (None, 1, OURS), (None, "migrate", CHECK)):
        found = [Born(name, deployment, token, role, CHECK_LASTS_S * 2) for name in ("live", "warm")]
        assert not removed(*found)


def test_what_an_ended_deployment_left_goes_one_offs_and_checks_as_well() -> None:
    left = [Born("a", "old", 3), Born("b", "old", 3, "migrate"), Born("c", "old", None, CHECK, 1.0)]
    assert removed(*left) == {"a", "b", "c"}


@pytest.mark.parametrize("current", ["now", None])
def test_what_belongs_to_a_deployment_that_has_not_ended_stays(current: str | None) -> None:
    assert not removed(Born("a", "now", OURS), Born("b", "stuck", 3, "migrate"), current=current)


def test_what_a_newer_owner_made_stays() -> None:
    assert not removed(Born("a", "old", OURS + 1), Born("b", "unknown", OURS + 1))


def test_an_unknown_deployment_leaves_orphans_only_where_something_is_live() -> None:
    """With an empty store they may be what serves, and the store the one that is wrong."""
    stranger = Born("a", "unknown", 3)
    assert removed(stranger) == {"a"}
    assert not removed(stranger, slots=Slots())


def test_without_a_deployment_label_nothing_is_known_and_nothing_is_removed() -> None:
    assert not removed(Born("a", None, 3))


def test_a_check_outside_any_deployment_goes_only_when_it_is_old() -> None:
    assert not removed(
        Born("a", "unknown", None, CHECK, CHECK_LASTS_S - 1), Born("b", None, None, CHECK, None)
    )
    assert removed(Born("a", "unknown", None, CHECK, CHECK_LASTS_S + 1)) == {"a"}
