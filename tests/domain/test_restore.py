"""May a backup take the place of the live database, what would be lost, and whose a database is."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.domain.backup import Backup, BackupKind, BackupState
from backstay.domain.content import Content, TableContent
from backstay.domain.restore import (
    LONGEST_NAME,
    Change,
    Loss,
    Mark,
    Role,
    Target,
    compare,
    differing,
    exceeds,
    is_expired,
    least_rows,
    mark_in,
    refuse,
    renamed,
    too_much,
)
from backstay.domain.secret import Secret
from backstay.domain.server import ServerFacts

GOOD = Backup(
    "shop_prod_1", "shop", "prod", "2026-11-24T02:00:00.000Z", BackupKind.LOGICAL, BackupState.VERIFIED, 9, "/b", "ab",
    "02:00", content=True, database="shop", system_identifier="77", server_major=15,
)  # fmt: skip
FACTS = ServerFacts("15.6", 15, "77", "shop", 9, "UTF8", "C", {}, ())
TARGET = Target("shop", "prod", FACTS)
MARK = Mark("shop", "prod", "20261124-020000-ab12", Role.BEFORE, "shop", "2026-11-24T02:00:00.000Z")


def test_what_agrees_in_everything_may_be_restored() -> None:
    assert refuse(GOOD, TARGET) is None


WRONG_BACKUPS = {
    "failed": replace(GOOD, state=BackupState.FAILED),
    "damaged": replace(GOOD, state=BackupState.DAMAGED),
    "another application": replace(GOOD, app="other"),
    "another environment": replace(GOOD, environment="uat"),
    "another database": replace(GOOD, database="other"),
    "another server": replace(GOOD, system_identifier="78"),
    "a server that is not known": replace(GOOD, system_identifier=None),
    "a newer server": replace(GOOD, server_major=16),
    "no content": replace(GOOD, content=False),
}
WRONG_TARGETS = {
    "claimed": replace(TARGET, claimed_by=("uat",)),
    "a standby": replace(TARGET, facts=replace(FACTS, in_recovery=True)),
    "another server": replace(TARGET, facts=replace(FACTS, system_identifier="79")),
    "one that does not tell": replace(TARGET, facts=replace(FACTS, system_identifier=None)),
}


@pytest.mark.parametrize("backup", WRONG_BACKUPS.values(), ids=WRONG_BACKUPS)
def test_one_thing_that_does_not_agree_is_enough(backup: Backup) -> None:
    """Case 9."""
    found = refuse(backup, TARGET)
    assert found is not None and found.why and found.hint.startswith("backstay ")


@pytest.mark.parametrize("target", WRONG_TARGETS.values(), ids=WRONG_TARGETS)
def test_one_thing_about_the_target_is_enough(target: Target) -> None:
    found = refuse(GOOD, target)
    assert found is not None and found.why and found.hint


def test_no_second_fault_ever_makes_good_the_first() -> None:
    for backup, target in product(WRONG_BACKUPS.values(), (TARGET, *WRONG_TARGETS.values())):
        # Two servers that both do not tell who they are agree as far as anybody knows.
        both_silent = backup.system_identifier is None and target.facts.system_identifier is None
        assert both_silent or refuse(backup, target) is not None


def test_where_neither_side_tells_the_servers_identifier_the_rest_must_agree() -> None:
    """As on managed servers, where an ordinary role may not ask."""
    silent = replace(TARGET, facts=replace(FACTS, system_identifier=None))
    unknown = replace(GOOD, system_identifier=None)
    assert refuse(unknown, silent) is None
    assert refuse(replace(unknown, database="other"), silent) is not None


def test_an_unverified_backup_may_be_restored_since_the_restore_proves_it() -> None:
    assert refuse(replace(GOOD, state=BackupState.UNVERIFIED), TARGET) is None


@given(st.lists(st.integers(0, 20)), st.lists(st.integers(0, 20)))
def test_rows_that_only_one_side_has_are_counted_with_their_multiplicity(
    ours: list[int], theirs: list[int]
) -> None:
    numbers = {*ours, *theirs}
    going = sum(max(0, ours.count(n) - theirs.count(n)) for n in numbers)
    coming = sum(max(0, theirs.count(n) - ours.count(n)) for n in numbers)
    assert compare(sorted(ours), sorted(theirs)) == Change(going, coming)


@given(st.integers(0, 50), st.none() | st.integers(0, 50))
def test_nothing_is_lost_that_was_not_named(rows: int, accepted: int | None) -> None:
    """Law 7."""
    loss = Loss({"public.t": Change(rows, 0)} if rows else {})
    assert exceeds(loss, accepted) is (rows > (accepted or 0))


def test_a_refusal_names_the_number_that_would_be_accepted() -> None:
    loss = Loss({"public.orders": Change(14, 0), "public.users": Change(1, 1)})
    found = too_much(loss, 3, "prod", "shop_prod_1", 9031)
    assert "16 rows" in found.why and "9031 transactions" in found.why and "--accept-loss 3" in found.why
    assert "public.orders (14 go, 0 come back)" in found.why
    assert "--accept-loss 16" in found.hint
    assert not exceeds(loss, 16) and exceeds(loss, 15)


def test_many_tables_are_told_as_a_number() -> None:
    loss = Loss({f"public.t{n}": Change(1, 0) for n in range(14)})
    assert "and 4 more tables" in str(loss) and loss.rows == 14
    assert str(Loss()) == "nothing" and Loss().as_json() == {"rows": 0, "tables": {}}


def content(**tables: tuple[int, str]) -> Content:
    return Content({name: TableContent(*table) for name, table in tables.items()})


def test_the_least_loss_is_never_more_than_the_checksums_show() -> None:
    live = content(
        same=(3, "a"), more=(9, "b"), fewer=(1, "c"), other=(2, "d"), new=(4, "e"), unknown=(5, "")
    )
    then = content(
        same=(3, "a"), more=(7, "x"), fewer=(2, "y"), other=(2, "z"), gone=(6, "f"), unknown=(5, "g")
    )
    assert least_rows(live, then).tables == {
        "more": Change(2, 0), "fewer": Change(0, 1), "other": Change(1, 1), "new": Change(4, 0), "gone": Change(0, 6),
    }  # fmt: skip
    assert "same" not in differing(live, then)
    assert set(differing(live, then)) == {"more", "fewer", "other", "new", "gone", "unknown"}
    assert least_rows(live, live).rows == 0 and differing(live, live) == ()


def test_our_own_canary_row_is_nobodys_work() -> None:
    live, then = (Content({"backstay.canary": TableContent(1, mark)}) for mark in "ab")
    assert differing(live, then) == () and least_rows(live, then).rows == 0
    assert differing(live, Content({})) == ()


@pytest.mark.parametrize("role", Role)
def test_a_mark_is_read_back_from_its_comment(role: Role) -> None:
    mark = replace(MARK, role=role)
    assert mark_in(mark.as_comment()) == mark
    assert mark.name == f"shop_{role}_20261124_020000_ab12"


@pytest.mark.parametrize(
    "comment",
    [None, "", "the shop", "{}", "[]", "null", '{"backstay": null}', '{"backstay": {}}',
     '{"backstay": {"role": "king"}}', MARK.as_comment().replace('"app"', '"ape"')],
)  # fmt: skip
def test_any_other_comment_is_no_mark(comment: str | None) -> None:
    assert mark_in(comment) is None


@given(st.text(min_size=1, max_size=80))
def test_a_name_is_never_longer_than_postgresql_allows_and_always_tells_the_deployment(live: str) -> None:
    name = replace(MARK, live=live).name
    assert len(name.encode()) <= LONGEST_NAME and name.endswith("_before_20261124_020000_ab12")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@h:5432/shop", "postgresql://u:p@h:5432/x%20y"),
        ("postgresql+psycopg://u:p%2F@[::1]/shop?sslmode=require", "postgresql+psycopg://u:p%2F@[::1]/x%20y?sslmode=require"),
        ("postgres://%2Ftmp%2Fs/shop", "postgres://%2Ftmp%2Fs/x%20y"),
        ("postgresql://h", "postgresql://h/x%20y"),
    ],
)  # fmt: skip
def test_the_url_of_another_database_of_the_same_server(url: str, expected: str) -> None:
    assert renamed(Secret(url), "x y").reveal() == expected


def test_what_was_replaced_stays_its_time_and_what_is_needed_stays_longer() -> None:
    for role, age_s, under_way in product(Role, (0.0, 99.0, 101.0), (True, False)):
        gone = is_expired(replace(MARK, role=role), age_s, 100.0, is_under_way=under_way)
        assert gone is (not under_way and (role is Role.RESTORED or age_s > 100.0))
