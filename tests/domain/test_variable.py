"""Values that nobody meant."""

from __future__ import annotations

import pytest

from backstay.domain.secret import Secret
from backstay.domain.variable import is_filler, unset


@pytest.mark.parametrize(
    "value",
    ["changeme", "ChangeMe ", "TODO", "xxx", "xxxxxxxx", "********", "$DB_PASSWORD", "${DB_PASSWORD}", "$(cat key)",
     "{{ secrets.KEY }}", "<your key>", "your-api-key", "YOUR_SECRET_HERE"],
)  # fmt: skip
def test_what_a_template_left_behind_is_a_placeholder(value: str) -> None:
    assert is_filler(value)


@pytest.mark.parametrize(
    "value",
    ["", "s3cret-$tuff", "postgresql://u:${x}@h/d", "p<q>r", "true", "yourself", "xylophone", "a{b}c"],
)
def test_what_somebody_meant_is_none(value: str) -> None:
    assert not is_filler(value)


def test_everything_unset_is_named_at_once_and_no_value_is_shown() -> None:
    secrets = {"A": Secret("fine-value"), "B": Secret(" "), "C": Secret("changeme"), "D": Secret("password")}
    found = unset(
        ["D", "A", "B", "C", "Z", "Y"], secrets, {"backend.env.MODE": "<mode>", "backend.env.OFF": ""}
    )
    assert str(found) == "missing: Y, Z; empty: B; placeholders: C, D, backend.env.MODE"
    assert "fine-value" not in repr(found)


def test_all_set_is_false() -> None:
    assert not unset(["A"], {"A": Secret("good")}, {"m.env.KIND": "password"})
