"""The verdict of a rehearsal follows from its facts alone."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import pytest

from backstay.domain.check import CheckResult
from backstay.domain.rehearsal import (
    STRONG,
    Blocked,
    Judgement,
    Lint,
    Lock,
    LockLimits,
    MigrationRun,
    Outlook,
    Rehearsed,
    Statement,
    Trace,
    as_document,
    first_word,
    is_schema_change,
    judge,
    longest,
)
from backstay.domain.tables import Changes

LIMITS = LockLimits(1.0, 10.0)
GOOD = (CheckResult("backend health", True, "200", 0.1),)
BAD = (CheckResult("products", False, "answered 500", 0.1),)
NOTICED = (CheckResult("products", False, "slow", 0.1, severity="warning"),)
RAN = MigrationRun("backend", 0, 1.0)
ADD = Statement("ALTER TABLE t ADD COLUMN n int")
ALL_WELL = Rehearsed((RAN,), (RAN,), GOOD, GOOD)


def lock(held_s: float, mode: str = "AccessExclusiveLock", table: str = "public.orders") -> Lock:
    return Lock(table, mode, held_s, "ALTER TABLE orders ADD COLUMN n int", 1000, held_s)


def held(*locks: Lock) -> Rehearsed:
    return replace(ALL_WELL, migrated=(replace(RAN, trace=Trace((ADD,), locks)),))


def test_every_combination_has_the_worst_of_its_verdicts() -> None:
    """Fault of the migration, of its second run, of the new and of the old release, and too long a lock."""
    failed = replace(RAN, exit_code=1)
    for first, again, new, old, long in product((False, True), repeat=5):
        run = failed if first else RAN
        run = replace(run, trace=Trace(locks=(lock(11.0 if long else 0.5),)))
        found = Rehearsed((run,), (failed if again else RAN,), BAD if new else GOOD, BAD if old else GOOD)
        judged = judge(found, LIMITS)
        if first or again or new:
            assert judged.outlook is Outlook.FAILED
            assert len(judged.reasons) == first + again + new
        elif old or long:
            assert judged.outlook is Outlook.BREAKING
            assert len(judged.reasons) == old + long
        else:
            assert (judged.outlook, judged.reasons) == (Outlook.COMPATIBLE, ())
        assert judged.rollback_is_safe == (judged.outlook is Outlook.COMPATIBLE)


def test_what_did_not_come_to_be_tried_is_no_failure() -> None:
    assert judge(Rehearsed(), LIMITS).outlook is Outlook.COMPATIBLE
    assert judge(Rehearsed(new=GOOD), LIMITS).outlook is Outlook.COMPATIBLE
    assert judge(Rehearsed((replace(RAN, exit_code=1),)), LIMITS).outlook is Outlook.FAILED


def test_what_is_gone_or_demanded_breaks_unless_somebody_vouches_for_it() -> None:
    found = replace(ALL_WELL, changes=Changes(("public.orders.fax",), ("public.orders.tax",)))
    judged = judge(found, LIMITS)
    assert judged.outlook is Outlook.BREAKING and not judged.rollback_is_safe
    assert [reason.partition(" ")[0] for reason in judged.reasons] == ["public.orders.fax", "every"]
    judged = judge(replace(found, unused=("orders.fax",)), LIMITS)
    assert (
        judged.outlook is Outlook.BREAKING
        and len(judged.reasons) == 1
        and "public.orders.tax" in judged.reasons[0]
    )
    assert judge(replace(found, unused=("orders.fax", "public.orders.tax")), LIMITS) == Judgement(
        Outlook.COMPATIBLE
    )


def test_who_vouches_does_not_silence_the_old_release_itself() -> None:
    found = replace(ALL_WELL, old=BAD, changes=Changes(("public.orders.fax",)), unused=("orders.fax",))
    assert judge(found, LIMITS).outlook is Outlook.BREAKING


def test_vouching_for_what_stays_is_told() -> None:
    judged = judge(replace(ALL_WELL, unused=("orders.facts",)), LIMITS)
    assert judged.outlook is Outlook.COMPATIBLE
    assert judged.warnings == ("orders.facts was said to be unused, but the migration does not take it",)


def test_what_fails_before_the_migration_too_says_nothing_about_it() -> None:
    judged = judge(replace(ALL_WELL, old=BAD, old_before=BAD), LIMITS)
    assert judged.outlook is Outlook.COMPATIBLE
    assert judged.warnings == (
        "the old release fails here before the migration too, which says nothing: products",
    )
    other = (*BAD, CheckResult("api", False, "answered 404", 0.1))
    judged = judge(replace(ALL_WELL, old=other, old_before=BAD), LIMITS)
    assert judged.reasons == ("the old release fails on the migrated copy: api: answered 404",)


def test_warnings_of_smoke_tests_fail_nothing() -> None:
    assert judge(replace(ALL_WELL, new=NOTICED, old=NOTICED), LIMITS).outlook is Outlook.COMPATIBLE


@pytest.mark.parametrize(
    ("held_s", "outlook", "warned"),
    [
        (0.2, "compatible", 0),
        (1.0, "compatible", 0),
        (1.1, "compatible", 1),
        (10.0, "compatible", 1),
        (10.1, "breaking", 0),
    ],
)
def test_a_lock_is_told_when_long_and_breaks_when_too_long(held_s: float, outlook: str, warned: int) -> None:
    judged = judge(held(lock(held_s)), LIMITS)
    assert (judged.outlook, len(judged.warnings)) == (outlook, warned)
    said = judged.warnings + judged.reasons
    if said:
        assert "readers and writers of public.orders (1000 rows) wait" in said[0]
        assert "ALTER TABLE orders ADD COLUMN n int" in said[0]


def test_whom_a_lock_blocks() -> None:
    assert lock(1, "ShareLock").blocks is Blocked.WRITERS
    assert {mode for mode, whom in STRONG.items() if whom is Blocked.ALL} == {"AccessExclusiveLock"}


def test_of_several_looks_at_a_lock_the_longest_counts() -> None:
    assert longest([lock(0.1), lock(0.3), lock(0.2), lock(0.1, "ShareLock")]) == (
        lock(0.3),
        lock(0.1, "ShareLock"),
    )


def test_a_failed_migration_says_what_the_database_refused() -> None:
    refused = Statement("CREATE UNIQUE INDEX one ON orders (a)", None, 'could not create unique index "one"')
    run = MigrationRun("backend", 1, 0.5, "Applying 0003...", Trace((ADD, refused)))
    assert run.fault == (
        'the migration of backend ended with 1: could not create unique index "one"'
        " (CREATE UNIQUE INDEX one ON orders (a))"
    )
    assert replace(run, trace=Trace()).fault == "the migration of backend ended with 1: Applying 0003..."
    assert MigrationRun("backend", 1, 0.5).fault == "the migration of backend ended with 1: no output"
    assert (
        MigrationRun("backend", None, 90.0).fault == "the migration of backend did not end within 1 min 30 s"
    )


def test_a_second_run_that_changes_again_is_told() -> None:
    again = replace(RAN, trace=Trace((Statement("SELECT 1"), ADD)))
    judged = judge(replace(ALL_WELL, again=(again,)), LIMITS)
    assert judged.outlook is Outlook.COMPATIBLE
    assert judged.warnings == (f"run a second time, the migration of backend changes again: {ADD.sql}",)


def test_what_the_linter_says_warns_and_never_decides() -> None:
    judged = judge(replace(ALL_WELL, lints=(Lint("ban-drop-column", "may break clients", ADD.sql),)), LIMITS)
    assert judged.outlook is Outlook.COMPATIBLE
    assert judged.warnings == (f"ban-drop-column: may break clients ({ADD.sql})",)


@pytest.mark.parametrize(
    ("sql", "word", "changes"),
    [
        ("ALTER TABLE t", "alter", True),
        ("  create\nindex", "create", True),
        ("-- why\n/* and */ Drop table t", "drop", True),
        ("SELECT 1", "select", False),
        ("update t set a = 1", "update", False),
        ("begin;", "begin", False),
        ("", "", False),
    ],
)
def test_which_statements_change_the_schema(sql: str, word: str, changes: bool) -> None:
    assert (first_word(sql), is_schema_change(sql)) == (word, changes)


def test_a_statement_is_shown_on_one_short_line() -> None:
    assert Statement("SELECT\n   1").shown == "SELECT 1"
    assert len(Statement("x" * 500).shown) == 120


def test_the_document_is_json_and_complete() -> None:
    found = replace(held(lock(0.5)), lints=(Lint("rule", "words"),))
    document = json.loads(json.dumps(as_document(found, judge(found, LIMITS))))
    assert (document["verdict"], document["rollback_safe"]) == ("compatible", True)
    assert document["locks"] == [
        {"table": "public.orders", "mode": "AccessExclusiveLock", "held_s": 0.5, "waited_s": 0.5, "rows": 1000,
         "blocks": "readers and writers", "sql": "ALTER TABLE orders ADD COLUMN n int"}
    ]  # fmt: skip
    assert document["statements"] == [{"sql": ADD.sql, "took_s": None, "error": None}]
    assert document["migrations"] == [{"component": "backend", "exit_code": 0, "took_s": 1.0}]
    assert document["new"] == [{"id": "backend health", "ok": True, "detail": "200"}]
    assert document["old_before"] is None
