"""WAL: names and positions, and which files make an unbroken chain from a base backup."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.domain.wal import (
    DEFAULT_SEGMENT_BYTES,
    PARTIAL,
    Base,
    Chain,
    Listing,
    Mark,
    Window,
    caught_up,
    chain,
    chain_for,
    history_timeline,
    parse_history,
    parse_lsn,
    parse_segment,
    segment_name,
    superfluous,
    window,
    write_lsn,
)

SIZE = DEFAULT_SEGMENT_BYTES
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def minute(number: int) -> datetime:
    return NOON + timedelta(minutes=number)


def base(number: int = 2, *, timeline: int = 1, at: datetime = NOON, name: str = "b1") -> Base:
    """A base backup that begins and ends in segment `number`, within no time."""
    return Base(name, timeline, number * SIZE + 40, number * SIZE + 400, at, at)


def segments(*numbers: int, timeline: int = 1) -> dict[str, int]:
    return {segment_name(timeline, number, SIZE): SIZE for number in numbers}


def partial(number: int, *, timeline: int = 1, size: int = SIZE) -> dict[str, int]:
    return {segment_name(timeline, number, SIZE) + PARTIAL: size}


def marks(*numbers: int, timeline: int = 1) -> list[Mark]:
    """In the middle of segment `n`, at minute n after noon."""
    return [Mark(timeline, number * SIZE + SIZE // 2, minute(number)) for number in numbers]


class TestNames:
    @pytest.mark.parametrize(
        ("timeline", "number", "size", "name"),
        [
            (1, 0, SIZE, "000000010000000000000000"),
            (1, 255, SIZE, "0000000100000000000000FF"),
            (1, 256, SIZE, "000000010000000100000000"),
            (0x1F, 3, 1 << 30, "0000001F0000000000000003"),
            (1, 4, 1 << 30, "000000010000000100000000"),
        ],
    )
    def test_as_the_server_writes_them(self, timeline: int, number: int, size: int, name: str) -> None:
        assert segment_name(timeline, number, size) == name
        found = parse_segment(name + PARTIAL, size)
        assert found is not None
        assert (found.timeline, found.number, found.is_partial) == (timeline, number, True)

    @given(
        st.integers(1, 0xFFFFFFFF), st.integers(0, 1 << 30), st.sampled_from([1 << n for n in range(20, 31)])
    )
    def test_back_and_forth(self, timeline: int, number: int, size: int) -> None:
        found = parse_segment(segment_name(timeline, number, size), size)
        assert found is not None
        assert (found.timeline, found.number, found.is_partial) == (timeline, number, False)

    @pytest.mark.parametrize(
        "name", ["00000002.history", "positions", "0000000100000000000000FG", "", "x.partial"]
    )
    def test_other_files_are_no_segments(self, name: str) -> None:
        assert parse_segment(name, SIZE) is None

    def test_histories(self) -> None:
        assert history_timeline("0000000A.history") == 10
        assert history_timeline("0000000A.history.bak") is None
        text = "1\t0/3000148\tno recovery target specified\n\n2\t1/A0\tbefore 2026\n"
        assert parse_history(text) == ((1, 0x3000148), (2, 0x1000000A0))

    @given(st.integers(0, (1 << 64) - 1))
    def test_positions_back_and_forth(self, position: int) -> None:
        assert parse_lsn(write_lsn(position)) == position


class TestChain:
    def test_without_any_file_the_base_alone_is_what_there_is(self) -> None:
        found = chain(base(), Listing({}))
        assert (found.files, found.end, found.until, found.gap) == ((), base().stop, NOON, None)

    def test_from_the_base_to_the_end_of_the_partial_file(self) -> None:
        files = segments(1, 2, 3, 4) | partial(5)
        found = chain(base(2), Listing(files, marks=marks(2, 3, 4, 5)))
        assert [name[-1] for name in found.files[:-1]] == ["2", "3", "4"] and found.files[-1].endswith(
            PARTIAL
        )
        assert (found.end, found.until, found.gap) == (6 * SIZE, minute(5), None)

    def test_a_partial_file_counts_up_to_its_end(self) -> None:
        files = segments(2, 3) | partial(4, size=SIZE // 4)
        found = chain(base(2), Listing(files, marks=marks(2, 3, 4)))
        assert (found.end, found.until) == (4 * SIZE + SIZE // 4, minute(3))
        assert found.gap == f"{segment_name(1, 4, SIZE)} was not received to its end"

    @pytest.mark.parametrize("lost", [2, 3, 4, 5, 6])
    def test_a_missing_segment_ends_it_at_the_last_moment_before(self, lost: int) -> None:
        """Whichever is deleted, in the middle or the newest: what comes behind it cannot be reached."""
        files = segments(*(n for n in range(2, 7) if n != lost))
        found = chain(base(2), Listing(files, marks=marks(2, 3, 4, 5, 6)))
        assert found.gap == f"{segment_name(1, lost, SIZE)} is missing"
        assert found.until == (minute(lost - 1) if lost > 2 else NOON)
        assert len(found.files) == lost - 2

    @pytest.mark.parametrize("size", [1, SIZE // 2, SIZE - 1])
    def test_a_short_segment_ends_it_too(self, size: int) -> None:
        files = segments(2, 3, 5) | {segment_name(1, 4, SIZE): size}
        found = chain(base(2), Listing(files, marks=marks(2, 3, 4, 5)))
        assert found.gap == f"{segment_name(1, 4, SIZE)} has {size} of {SIZE} bytes"
        assert found.until == (minute(4) if size >= SIZE // 2 else minute(3))

    def test_an_empty_segment_is_a_missing_one(self) -> None:
        found = chain(base(2), Listing(segments(2, 4) | {segment_name(1, 3, SIZE): 0}))
        assert found.gap == f"{segment_name(1, 3, SIZE)} is missing"

    @pytest.mark.parametrize("present", [n for size in range(6) for n in combinations(range(2, 7), size)])
    def test_never_more_than_an_unbroken_row(self, present: tuple[int, ...]) -> None:
        """Every set of files there can be: the end is never behind the first hole."""
        found = chain(base(2), Listing(segments(*present), marks=marks(*range(2, 7))))
        row = next(n for n in range(2, 8) if n not in present)
        assert found.end == (row * SIZE if row > 2 else base(2).stop)
        assert found.until == (minute(row - 1) if row > 2 else NOON)
        assert (found.gap is None) == (row == 7)

    def test_marks_before_the_base_prove_nothing(self) -> None:
        found = chain(base(2, at=minute(9)), Listing(segments(1, 2), marks=marks(1)))
        assert found.until == minute(9)

    def test_on_to_the_timeline_after_a_promotion(self) -> None:
        """The server was promoted in the middle of segment 4: from there on the new timeline's file counts."""
        left = 4 * SIZE + SIZE // 2
        files = segments(2, 3) | partial(4) | segments(4, 5, timeline=2) | partial(6, timeline=2)
        listing = Listing(files, {2: [(1, left)]}, [*marks(2, 3, 4), *marks(5, 6, timeline=2)])
        found = chain(base(2), listing)
        assert found.timeline == 2
        assert [name[:8] for name in found.files] == ["00000001"] * 2 + ["00000002"] * 3
        assert (found.until, found.gap) == (minute(6), None)

    def test_what_was_committed_on_an_abandoned_timeline_does_not_count(self) -> None:
        left = 3 * SIZE + 100
        files = segments(2, 3, 4) | segments(3, 4, timeline=2)
        found = chain(base(2), Listing(files, {2: [(1, left)]}, marks(2, 3, 4)))
        assert (found.timeline, found.until) == (2, minute(2))

    def test_without_the_new_timelines_file_it_ends_where_the_old_one_was_left(self) -> None:
        left = 3 * SIZE + 100
        found = chain(base(2), Listing(segments(2, 3, 4), {2: [(1, left)]}, marks(2)))
        assert found.end == left

    def test_a_timeline_that_left_before_the_base_is_not_its_future(self) -> None:
        listing = Listing(segments(2, 3) | segments(1, timeline=2), {2: [(1, SIZE)]}, marks(3))
        assert chain(base(2), listing).timeline == 1

    def test_through_several_promotions(self) -> None:
        histories = {2: [(1, 3 * SIZE + 8)], 3: [(1, 3 * SIZE + 8), (2, 4 * SIZE + 8)]}
        files = segments(2) | segments(3, timeline=2) | segments(4, 5, timeline=3)
        found = chain(base(2), Listing(files, histories, marks(5, timeline=3)))
        assert [name[7] for name in found.files] == ["1", "2", "3", "3"]
        assert found.until == minute(5)


def reach(first: int, last: int, name: str = "b") -> Chain:
    return Chain(base(name=name, at=minute(first)), 1, (), 0, minute(last))


class TestWindow:
    def test_spans_of_bases_that_overlap_are_one(self) -> None:
        found = window([reach(5, 9), reach(0, 5), reach(20, 20)])
        assert found.spans == ((minute(0), minute(9)), (minute(20), minute(20)))
        assert found.last == minute(20)

    def test_both_ends_belong_to_it_and_a_hole_does_not(self) -> None:
        found = window([reach(0, 5), reach(8, 9)])
        assert [found.holds(minute(n)) for n in (0, 5, 8, 9)] == [True] * 4
        assert [found.holds(minute(n)) for n in (-1, 6, 7, 10)] == [False] * 4

    def test_one_cannot_go_back_to_before_a_base_was_ready(self) -> None:
        slow = replace(base(at=minute(0)), ready=minute(3))
        found = Chain(slow, 1, (), 0, minute(5))
        assert window([found]).spans == ((minute(3), minute(5)),)
        assert chain_for([found], minute(2)) is None and chain_for([found], minute(3)) is found

    def test_a_base_without_any_wal_has_no_window_but_can_be_restored(self) -> None:
        found = chain(replace(base(at=minute(0)), ready=minute(3)), Listing({}))
        assert window([found]) == Window(()) and chain_for([found], None) is found

    def test_nothing_is_within_reach_without_a_base(self) -> None:
        assert window([]) == Window(()) and window([]).last is None

    def test_the_newest_base_before_the_moment_has_the_least_to_replay(self) -> None:
        old, new, later = reach(0, 9, "old"), reach(4, 9, "new"), reach(8, 9, "later")
        chosen = chain_for([old, later, new], minute(6))
        assert chosen is new

    def test_without_a_moment_the_furthest_one(self) -> None:
        assert chain_for([reach(4, 5, "broken"), furthest := reach(0, 9, "whole")], None) is furthest
        assert chain_for([], None) is None

    def test_none_brings_back_a_moment_in_a_hole(self) -> None:
        assert chain_for([reach(0, 5), reach(8, 9)], minute(6)) is None


class TestPruning:
    def test_only_what_lies_before_the_oldest_kept_base(self) -> None:
        listing = Listing(segments(*range(1, 8)) | {"00000002.history": 40, "marks": 7} | partial(1))
        found = superfluous(listing, [base(5).start, base(3).start])
        assert found == (*segments(1), *partial(1), *segments(2))

    def test_nothing_goes_without_a_base(self) -> None:
        assert superfluous(Listing(segments(1, 2, 3)), []) == ()

    @given(st.sets(st.integers(0, 30)), st.lists(st.integers(0, 30), min_size=1))
    def test_every_kept_base_reaches_as_far_as_before(self, numbers: set[int], starts: list[int]) -> None:
        kept = [base(number) for number in starts]
        listing = Listing(segments(*numbers), marks=marks(*range(31)))
        gone = superfluous(listing, [each.start for each in kept])
        left = Listing({n: s for n, s in listing.files.items() if n not in gone}, marks=listing.marks)
        assert [chain(each, left) for each in kept] == [chain(each, listing) for each in kept]


class TestCaughtUp:
    def test_the_latest_moment_whose_position_has_arrived(self) -> None:
        seen = [(minute(0), 100), (minute(1), 200), (minute(2), 300)]
        assert [caught_up(seen, n) for n in (99, 100, 250, 300)] == [None, minute(0), minute(1), minute(2)]

    def test_an_idle_server_is_always_caught_up(self) -> None:
        assert caught_up([(minute(n), 100) for n in range(60)], 100) == minute(59)
