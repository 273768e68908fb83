"""What becomes of a deployment whose worker died: every prefix of every runbook × every world it may be found in.

No expected answer is copied here: the tests say what must never happen, and what must always.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import product

import pytest

from backstay.domain.deployment import DeploymentKind, Wish
from backstay.domain.recovery import (
    FORMAT,
    MOST_TRIES,
    PROOFS,
    STEPS,
    UNDERSTOOD,
    Course,
    Decision,
    Observed,
    Pulse,
    Side,
    Story,
    asks,
    decide,
    unreadable,
)
from backstay.domain.step import StepRecord, StepState, Truth

DEPLOY, ROLLBACK, RESTORE = DeploymentKind.DEPLOY, DeploymentKind.ROLLBACK, DeploymentKind.RESTORE
BEFORE = ("check", "snapshot", "router", "pull")
RUNBOOKS: dict[str, tuple[DeploymentKind, tuple[str, ...]]] = {
    "deploy with a migration": (
        DEPLOY,
        (
            *BEFORE,
            "backup",
            "migrate",
            "start",
            "stage",
            "health",
            "smoke",
            "switch",
            "public-smoke",
            "bake",
            "retire",
        ),
    ),
    "deploy without one": (
        DEPLOY,
        (*BEFORE, "start", "stage", "health", "smoke", "switch", "public-smoke", "bake", "retire"),
    ),
    "warm rollback": (ROLLBACK, ("health", "router", "switch", "snapshot", "public-smoke", "retire")),
    "cold rollback": (
        ROLLBACK,
        (
            "snapshot",
            "router",
            "pull",
            "start",
            "stage",
            "health",
            "smoke",
            "switch",
            "public-smoke",
            "retire",
        ),
    ),
}
BEHIND_A_HOLD: dict[str, tuple[DeploymentKind, tuple[str, ...]]] = {
    "deploy with maintenance": (
        DEPLOY,
        (*BEFORE, "backup", "rehearse", "hold", "quiesce", "copy", "migrate", "start", "stage", "health", "smoke",
         "switch", "public-smoke", "open", "bake", "retire"),
    ),
    "restore": (
        RESTORE,
        (*BEFORE[1:], "restore", "hold", "quiesce", "swap", "start", "stage", "health", "smoke", "switch",
         "public-smoke", "open", "retire"),
    ),
}  # fmt: skip
"""Runbooks in which nobody is served for a while."""

WISHES = (None, Wish.ABORT, Wish.ROLLBACK)
WORLDS = [
    Observed(carries, target, origin, truth)
    for carries, target, origin, truth in product((True, False, None), Pulse, Pulse, Truth)
]


def record(name: str, position: int, state: StepState) -> StepRecord:
    error = "it broke" if state is StepState.FAILED else None
    return StepRecord(name, position, state, "2026-03-01T12:00:00.000Z", error=error)


def journal(names: tuple[str, ...], states: tuple[StepState, ...]) -> list[StepRecord]:
    return [record(n, p, s) for p, (n, s) in enumerate(zip(names, states, strict=True), start=1)]


def journals(names: tuple[str, ...]) -> Iterator[list[StepRecord]]:
    """Every journal that a death can leave: nothing yet; each prefix, its last step in each state; and each prefix
    whose reversal had come to any of its steps."""
    yield []
    for length in range(1, len(names) + 1):
        done = (StepState.DONE,) * (length - 1)
        for last in StepState:
            yield journal(names[:length], (*done, last))
        for at, ending in product(range(length - 1), (StepState.UNDOING, StepState.UNDONE)):
            reversed_ = (*done[:at], ending, *(StepState.UNDONE,) * (length - at - 2), StepState.UNDONE)
            yield journal(names[:length], reversed_)


@cache
def stories() -> tuple[Story, ...]:
    """The story of every journal of every runbook, with every wish that may have come meanwhile. Most tell the same."""
    found = {
        Story.of(kind, records, wish)
        for kind, names in RUNBOOKS.values()
        for records in journals(names)
        for wish in WISHES
    }
    return tuple(sorted(found, key=repr))


def cases(tried: tuple[int, ...] = (0, MOST_TRIES - 1)) -> Iterator[tuple[Story, Observed, Decision]]:
    for story, seen, times in product(stories(), WORLDS, tried):
        yield story, seen, decide(story, seen, times)


def story(runbook: str, done: str, wish: Wish | None = None) -> Story:
    """The story of a runbook whose steps are done up to `done`."""
    kind, names = RUNBOOKS[runbook]
    names = names[: names.index(done) + 1]
    return Story.of(kind, journal(names, (StepState.DONE,) * len(names)), wish)


def test_the_runbooks_here_have_every_step_there_is() -> None:
    books = [*RUNBOOKS.values(), *BEHIND_A_HOLD.values()]
    assert {name for _, names in books for name in names} == STEPS
    assert sum(len(list(journals(names))) for _, names in RUNBOOKS.values()) > 600
    assert {(told.kind, told.last) for told in stories()} >= {
        (k, n) for k, ns in RUNBOOKS.values() for n in ns
    }


@cache
def held_stories() -> tuple[Story, ...]:
    """Those in which the requests are held, or were, for a change that was not taken back."""
    found = {
        Story.of(kind, records, wish)
        for kind, names in BEHIND_A_HOLD.values()
        for records in journals(names)
        for wish in WISHES
    }
    return tuple(sorted((told for told in found if told.held), key=repr))


def held_cases() -> Iterator[tuple[Story, Observed, Decision]]:
    for told, seen, opened in product(held_stories(), WORLDS, (True, False, None)):
        now = replace(seen, opened=opened)
        yield told, now, decide(told, now, 0)


def test_as_long_as_nobody_was_let_through_everything_is_taken_back_whatever_the_slots_say() -> None:
    for told, seen, decision in held_cases():
        if not told.opening or seen.opened is False:
            assert decision.course is Course.UNDO and not decision.calls_person


def test_once_people_were_let_through_nothing_is_ever_taken_back() -> None:
    """Law 7: what they wrote is not anybody's to throw away."""
    for told, seen, decision in held_cases():
        if told.opening and seen.opened is not False:
            assert decision.course is not Course.UNDO


def test_what_people_were_let_through_to_is_finished_when_it_answers() -> None:
    """A deployment is watched to the end of its bake then: there is no way back that loses nothing."""
    for told, seen, decision in held_cases():
        if told.opening and seen.opened and not told.reversing:
            well = seen.target is Pulse.ANSWERS
            assert decision.course is (Course.FORWARD if well else Course.STAY)
            assert decision.calls_person is not well


def test_a_router_that_does_not_tell_whether_people_wrote_moves_nothing() -> None:
    for told, seen, decision in held_cases():
        if told.opening and seen.opened is None:
            assert decision.course is Course.STAY and decision.calls_person


def test_a_stopped_slot_behind_held_requests_is_never_started_to_see_whether_it_answers() -> None:
    """It would meet a database that is not its own."""
    for told in held_stories():
        assert Side.ORIGIN not in asks(told, True) | asks(told, False) | asks(told, None)
        if not told.opening:
            assert asks(told, True) == frozenset()


def test_after_three_tries_held_requests_stay_held_and_a_person_is_called() -> None:
    for told, seen in product(held_stories(), WORLDS):
        assert decide(told, seen, MOST_TRIES).course is Course.STAY


def test_what_was_taken_back_whole_is_a_plain_story_again() -> None:
    for kind, names in BEHIND_A_HOLD.values():
        states = [StepState.UNDONE if n not in BEFORE else StepState.DONE for n in names]
        told = Story.of(kind, journal(names, tuple(states)))
        assert not told.held and decide(told, Observed(False), 0).course is Course.UNDO


def test_every_journal_in_every_world_gets_a_course_and_a_reason() -> None:
    for _, _, decision in cases((0, MOST_TRIES, MOST_TRIES + 5)):
        assert decision.course in Course and decision.why
        assert decision.calls_person or decision.course is not Course.STAY


def test_nobody_is_ever_sent_to_a_slot_that_does_not_answer() -> None:
    for _, seen, decision in cases():
        if decision.course is Course.UNDO and seen.carries:
            assert seen.origin in (Pulse.ANSWERS, Pulse.EMPTY)
        if decision.course is Course.FORWARD:
            assert seen.target is Pulse.ANSWERS


def test_a_release_that_was_not_proven_never_goes_forward() -> None:
    for told, seen, decision in cases():
        if decision.course is Course.FORWARD:
            assert told.proven or (told.kind is ROLLBACK and seen.carries)


def test_what_had_begun_to_go_back_never_goes_forward() -> None:
    for told, _, decision in cases():
        if told.reversing:
            assert decision.course is not Course.FORWARD


def test_only_what_has_no_traffic_is_taken_back_unasked() -> None:
    """Without the traffic an undo moves nobody, so it needs no health; it is the answer unless all was proven."""
    for told, seen, decision in cases():
        if seen.carries is False and not (told.proven and not told.reversing):
            assert decision.course is Course.UNDO


def test_a_rollback_that_leads_to_a_good_slot_is_never_led_back_to_what_people_fled() -> None:
    for told, seen, decision in cases():
        if told.kind is ROLLBACK and seen.carries and seen.target is Pulse.ANSWERS and not told.reversing:
            assert decision.course is Course.FORWARD


def test_an_unwatched_deploy_goes_back_whenever_the_old_slot_answers() -> None:
    for told, seen, decision in cases():
        if told.kind is DEPLOY and not told.proven and seen.carries and seen.origin is Pulse.ANSWERS:
            assert decision.course is Course.UNDO


def test_a_proven_deploy_that_answers_is_finished() -> None:
    for told, seen, decision in cases():
        surely = seen.carries is not None and seen.target is Pulse.ANSWERS
        if told.proven and not told.reversing and surely:
            assert decision.course is Course.FORWARD


def test_a_router_that_does_not_tell_moves_nobody_once_a_switch_was_begun() -> None:
    for told, seen, decision in cases():
        if seen.carries is None:
            assert decision.course is (Course.STAY if told.switched else Course.UNDO)


def test_when_no_slot_answers_nobody_is_moved() -> None:
    for told, seen, decision in cases():
        if told.switched and seen.carries and (seen.target, seen.origin) == (Pulse.SILENT, Pulse.SILENT):
            assert decision.course is Course.STAY


def test_after_three_tries_a_person_is_called_and_nothing_is_moved() -> None:
    for told, seen in product(stories(), WORLDS):
        assert decide(told, seen, MOST_TRIES).course is Course.STAY


def test_who_is_not_asked_does_not_decide() -> None:
    for told, seen, decision in cases((0,)):
        wanted = asks(told, seen.carries)
        unasked = replace(
            seen,
            target=seen.target if Side.TARGET in wanted else Pulse.UNASKED,
            origin=seen.origin if Side.ORIGIN in wanted else Pulse.UNASKED,
        )
        assert decide(told, unasked, 0) == decision


def test_one_more_undone_step_changes_no_course() -> None:
    """A recovery that dies half-way is repeated, and must come to the same end."""
    for kind, names in RUNBOOKS.values():
        for length in range(2, len(names) + 1):
            states = [StepState.DONE] * length
            for at in reversed(range(length)):
                states[at] = StepState.UNDONE
                told = Story.of(kind, journal(names[:length], tuple(states)))
                for seen in WORLDS:
                    if seen.carries is False:
                        assert decide(told, seen, 1).course is Course.UNDO


@pytest.mark.parametrize("name", ["retire", "snapshot"])
def test_a_tidying_that_failed_after_the_switch_reverses_nothing(name: str) -> None:
    kind, names = RUNBOOKS["warm rollback"]
    states = tuple(StepState.FAILED if each == name else StepState.DONE for each in names)
    assert not Story.of(kind, journal(names, states)).reversing
    kind, names = RUNBOOKS["cold rollback"]
    assert Story.of(kind, journal(names[:1], (StepState.FAILED,))).reversing


@pytest.mark.parametrize("runbook", RUNBOOKS)
def test_a_wish_that_came_before_the_proof_is_heeded_and_one_after_it_is_not(runbook: str) -> None:
    proof = PROOFS[RUNBOOKS[runbook][0]]
    assert story(runbook, "switch", Wish.ABORT).stopped
    assert not story(runbook, proof, Wish.ABORT).stopped


@pytest.mark.parametrize("runbook", ["warm rollback", "cold rollback"])
def test_a_rollback_that_cannot_be_finished_calls_a_person_unless_it_was_stopped(runbook: str) -> None:
    good_only_before = Observed(True, Pulse.SILENT, Pulse.ANSWERS)
    assert decide(story(runbook, "switch"), good_only_before, 0).calls_person
    assert not decide(story(runbook, "switch", Wish.ABORT), good_only_before, 0).calls_person


def test_one_kind_does_not_live_on_the_proof_of_the_other() -> None:
    assert not story("deploy without one", "public-smoke").proven
    assert story("warm rollback", "public-smoke").proven


@pytest.mark.parametrize("state", StepState)
def test_only_an_undone_step_surely_left_nothing(state: StepState) -> None:
    assert state.may_have_effect == (state is not StepState.UNDONE)


def test_a_journal_without_a_format_is_of_the_first_and_understood() -> None:
    names = RUNBOOKS["deploy with a migration"][1]
    records = journal(names, (StepState.DONE,) * len(names))
    for recorded in ({}, *({"format": f, "backstay": "0.1.0"} for f in UNDERSTOOD)):
        assert unreadable(recorded, records, "0.1.0") is None


def test_a_newer_format_and_an_unknown_step_are_refused_with_their_author() -> None:
    newer = unreadable({"format": FORMAT + 1, "backstay": "9.1"}, [], "0.1.0")
    assert newer and "Backstay 9.1" in newer and f"format {FORMAT + 1}" in newer and "0.1.0" in newer
    strange = unreadable({"backstay": "9.1"}, journal(("check", "teleport"), (StepState.DONE,) * 2), "0.1.0")
    assert strange and "Backstay 9.1" in strange and "'teleport'" in strange
    assert unreadable({"format": "two"}, [], "0.1.0")
