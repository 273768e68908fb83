"""Room for one more slot, by hand-made numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.domain.room import (
    Connections,
    Memory,
    Need,
    SlotMemory,
    Space,
    by_filesystem,
    image_need,
    show_bytes,
)

GIB = 2**30


def test_two_needs_that_fit_alone_may_not_fit_together() -> None:
    space = Space("/var", 1, 10 * GIB, 1000)
    needs = [Need("image", "/var/lib/docker", 6 * GIB, 600), Need("backup", "/var/backups", 6 * GIB, 600)]
    assert all(not by_filesystem([(need, space)])[0].faults for need in needs)
    (together,) = by_filesystem([(need, space) for need in needs])
    assert together.faults == [
        "/var has 10.0 GiB free, needed 12.0 GiB (image 6.0 GiB + backup 6.0 GiB)",
        "/var has 1000 inodes free, needed 1200",
    ]


def test_a_filesystem_that_counts_no_files_lacks_none() -> None:
    (system,) = by_filesystem([(Need("state", "/x", 1, 10**9), Space("/x", 1, 5, None))])
    assert not system.faults


def test_a_read_only_filesystem_is_told_whatever_is_free() -> None:
    (system,) = by_filesystem([(Need("state", "/x", 1, 1), Space("/x", 1, GIB, 1000, read_only=True))])
    assert system.faults == ["/x is read-only"]


sizes = st.integers(0, 2**40)


@given(st.lists(st.tuples(sizes, st.integers(1, 3)), max_size=8), sizes)
def test_nothing_is_lost_in_the_sums(needs: list[tuple[int, int]], free: int) -> None:
    systems = by_filesystem(
        (Need("x", "/", size, 0), Space(f"/{device}", device, free, None)) for size, device in needs
    )
    assert sum(system.bytes for system in systems) == sum(size for size, _ in needs)
    assert len({system.space.device for system in systems}) == len(systems)
    assert all(bool(system.faults) == (system.bytes > free) for system in systems)


def test_layers_need_their_packed_and_their_unpacked_size() -> None:
    assert image_need(GIB)[0] == 4 * GIB
    assert image_need(0) == (0, 0)


def test_a_component_without_a_limit_is_named_and_not_counted() -> None:
    slot = SlotMemory({"a": 2 * GIB, "b": None, "c": GIB})
    assert (slot.total, slot.unlimited) == (3 * GIB, ("b",))
    assert slot.beyond(Memory(GIB, GIB)) == ("a",)


@pytest.mark.parametrize(
    ("have", "free"),
    [
        (Connections(100, 3, 50), 47),
        (Connections(100, 3, 98), 0),
        (Connections(100, 3, 50, mine=8, my_limit=10), 2),
        (Connections(100, 3, 96, mine=1, my_limit=50), 1),
        (Connections(100, 3, 1, mine=12, my_limit=10), 0),
    ],
)
def test_the_tightest_limit_counts(have: Connections, free: int) -> None:
    assert have.free == free


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 * GIB, "3.0 GiB")]
)
def test_bytes_as_people_read_them(count: int, shown: str) -> None:
    assert show_bytes(count) == shown
