"""What differs between two snapshots is told leaf by leaf."""

from __future__ import annotations

from typing import Any

import pytest

from backstay.domain.snapshot import Difference, differences

BEFORE: dict[str, Any] = {
    "taken_at": "2026-03-01T12:00:00.000Z",
    "slots": {"live": "blue", "blue": {"version": "v1"}},
    "secrets": {"KEY": "aaaa"},
    "list": [1, 2],
    "empty": {},
}


def test_a_snapshot_does_not_differ_from_itself_at_another_time() -> None:
    assert differences(BEFORE, {**BEFORE, "taken_at": "2026-03-01T13:00:00.000Z"}) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"slots": {"live": "green", "blue": {"version": "v1"}}}, Difference("slots.live", "blue", "green")),
        ({"secrets": {"KEY": "bbbb"}}, Difference("secrets.KEY", "aaaa", "bbbb")),
        ({"list": [1, 3]}, Difference("list", [1, 2], [1, 3])),
        ({"slots": {"live": "blue", "blue": {}}}, Difference("slots.blue.version", "v1", None)),
        ({"secrets": {"KEY": "aaaa", "NEW": "cccc"}}, Difference("secrets.NEW", None, "cccc")),
    ],
)
def test_each_change_has_its_path(changed: dict[str, Any], expected: Difference) -> None:
    assert expected in differences(BEFORE, {**BEFORE, **changed})


def test_backwards_is_the_same_the_other_way_round() -> None:
    after = {**BEFORE, "slots": {"live": "green"}, "more": {"a": {"b": 1}}}
    there, back = differences(BEFORE, after), differences(after, BEFORE)
    assert [(d.path, d.after, d.before) for d in back] == [(d.path, d.before, d.after) for d in there]
    assert there
