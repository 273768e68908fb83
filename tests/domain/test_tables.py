"""What an old release may miss after a migration: what is gone, and what it would have to give and does not know."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.domain.tables import Changes, Tables, compare, names

BEFORE: Tables = {"public.orders": {"id": False, "fax": False}, "public.old": {"id": False}}

tables = st.dictionaries(
    st.sampled_from(["public.a", "public.b", "audit.a"]),
    st.dictionaries(st.sampled_from(["id", "x", "y"]), st.booleans()),
)


def test_what_is_only_added_takes_nothing() -> None:
    after = {
        **BEFORE,
        "public.orders": {"id": False, "fax": False, "note": False},
        "public.new": {"id": True},
    }
    assert compare(BEFORE, after) == Changes()


def test_a_table_and_a_column_that_are_gone() -> None:
    assert compare(BEFORE, {"public.orders": {"id": False}}).gone == ("public.old", "public.orders.fax")


def test_a_new_name_is_a_loss_to_who_knows_the_old_one() -> None:
    after = {**BEFORE, "public.orders": {"id": False, "telefax": False}}
    assert compare(BEFORE, after) == Changes(("public.orders.fax",))


def test_a_new_column_that_every_row_must_give() -> None:
    after = {**BEFORE, "public.orders": {"id": False, "fax": False, "tax": True}}
    assert compare(BEFORE, after) == Changes(demanded=("public.orders.tax",))


@given(tables, tables)
def test_a_release_that_knows_both_misses_nothing_of_the_second(before: Tables, after: Tables) -> None:
    found = compare(before, after)
    assert compare(before, before) == Changes()
    columns = {f"{table}.{column}" for table, all_ in before.items() for column in all_}
    assert all(name in before or name in columns for name in found.gone)
    for name in found.demanded:
        table, _, column = name.rpartition(".")
        assert table in before and column not in before[table] and after[table][column]


@pytest.mark.parametrize(
    ("unused", "is_meant"),
    [
        ("public.orders.fax", True),
        ("orders.fax", True),
        ("public.orders", True),
        ("orders", True),
        ("fax", False),
        ("orders.fa", False),
        ("order", False),
        ("audit.orders.fax", False),
        ("", False),
    ],
)
def test_what_people_call_unused(unused: str, is_meant: bool) -> None:
    assert names(unused, "public.orders.fax") == is_meant
