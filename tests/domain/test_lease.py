"""What a newcomer may do about a lease: every case."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from backstay.domain.lease import (
    HEARTBEAT_S,
    LEASE_TIME_S,
    LEAST_BEATS,
    LONGEST_LOCK_S,
    WATCH_S,
    Claim,
    Freeing,
    Keeper,
    Lease,
    Now,
    Owner,
    Presence,
    Uptime,
    claim,
    cure,
    free,
    shows_life,
    still_ours,
)

LASTS_S = 600.0
HEARD = Uptime("boot", 50_000.0)
WALL = 1_000_000.0
"""The wall clock when the owner was last heard of."""

ANNAS = Owner("anna", "control", 4711, 1, "boot")
HELD = Lease("shop", "prod", 7, ANNAS, "deploy v2", "d1", 400.0, WALL + LASTS_S, LASTS_S, 9, HEARD)
ANNA = HELD.owner.person
BERT = replace(ANNA, name="bert")
MANUAL = replace(HELD, owner=ANNA, purpose="move the database", deployment=None)
WORK = replace(HELD, purpose="backup", deployment=None)
OF_BEFORE = replace(HELD, heard=None)
"""A lease that a Backstay took which did not record the uptime yet."""

JUMPS = {"set back": -3 * 86400.0, "right": 0.0, "set forward": 3 * 86400.0}
PASSED = {"at once": 0.0, "before": LASTS_S - 0.001, "at": LASTS_S, "after": LASTS_S + 3600}


def here(passed_s: float, jump_s: float = 0.0) -> Now:
    """Now, on the boot on which the owner was last heard of, after the wall clock was set."""
    return Now(WALL + passed_s + jump_s, Uptime("boot", HEARD.at + passed_s))


def elsewhere(passed_s: float, jump_s: float = 0.0) -> Now:
    """Now, on another machine, or after a reboot."""
    return Now(WALL + passed_s + jump_s, Uptime("other boot", 3.0))


def expected(presence: Presence, expired: bool, watched: bool) -> Claim:
    """The whole table for a lease that a process holds."""
    if presence is Presence.GONE:
        return Claim.TAKE_OVER
    if not expired:
        return Claim.REFUSE
    if not watched:
        return Claim.WATCH
    return {Presence.ALIVE: Claim.KILL_FIRST, Presence.UNKNOWN: Claim.TAKE_OVER}[presence]


@pytest.mark.parametrize(("presence", "passed", "jump"), list(product(Presence, PASSED, JUMPS)))
@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("held", [HELD, WORK], ids=["deployment", "work"])
def test_where_the_owner_was_heard_of_only_its_silence_counts(
    held: Lease, presence: Presence, passed: str, jump: str, watched: bool
) -> None:
    """No jump of the wall clock kills a living worker, or lets a hung one live for ever."""
    now = here(PASSED[passed], JUMPS[jump])
    assert claim(held, presence, now, watched=watched) is expected(
        presence, passed in ("at", "after"), watched
    )


@pytest.mark.parametrize(("presence", "passed"), list(product(Presence, PASSED)))
@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("held", [HELD, OF_BEFORE], ids=["of elsewhere", "without uptime"])
def test_between_machines_the_wall_clock_expires_it_and_nobody_goes_unwatched(
    held: Lease, presence: Presence, passed: str, watched: bool
) -> None:
    now = elsewhere(PASSED[passed])
    assert claim(held, presence, now, watched=watched) is expected(
        presence, passed in ("at", "after"), watched
    )


@pytest.mark.parametrize("presence", [Presence.ALIVE, Presence.UNKNOWN])
def test_between_machines_a_clock_set_forward_only_makes_people_wait(presence: Presence) -> None:
    """A living owner is seen to beat meanwhile."""
    now = elsewhere(0.0, JUMPS["set forward"])
    assert claim(HELD, presence, now) is Claim.WATCH
    assert shows_life(HELD, replace(HELD, beat=10))


@pytest.mark.parametrize("held", [HELD, MANUAL], ids=["process", "person"])
def test_between_machines_a_clock_set_back_makes_no_lease_immortal(held: Lease) -> None:
    """Whoever looks first writes down that it ends when a lease of its length can end at the latest."""
    now = elsewhere(5.0, JUMPS["set back"])
    assert held.is_misdated(now) and held.left_s(now) == LASTS_S
    corrected = replace(held, expires_at=held.ends_at(now))
    assert corrected.expires_at == now.wall + LASTS_S
    assert not corrected.is_misdated(now)
    later = elsewhere(5.0 + LASTS_S, JUMPS["set back"])
    assert corrected.has_expired(later) and not held.has_expired(later)


@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize("held", [HELD, MANUAL], ids=["process", "person"])
def test_where_it_was_heard_of_the_end_is_put_right_both_ways(held: Lease, jump: str) -> None:
    now = here(100.0, JUMPS[jump])
    assert held.is_misdated(now) is (jump != "right")
    assert held.ends_at(now) == pytest.approx(WALL + LASTS_S + JUMPS[jump])


def test_clocks_that_run_a_little_apart_change_nothing() -> None:
    now = here(100.0, 1.5)
    assert not HELD.is_misdated(now) and HELD.ends_at(now) == HELD.expires_at


def test_the_uptime_of_another_boot_or_one_that_went_back_tells_nothing() -> None:
    assert HEARD.since(None) is None
    assert HEARD.since(Uptime("other boot", 1.0)) is None
    assert HEARD.since(Uptime("boot", HEARD.at + 1)) is None, (
        "a machine that was put back to an earlier state"
    )
    assert HEARD.since(Uptime("boot", HEARD.at - 1)) == 1.0
    assert HEARD.since(HEARD) == 0.0


@pytest.mark.parametrize(("presence", "passed"), list(product(Presence, PASSED)))
@pytest.mark.parametrize("watched", [False, True])
def test_a_free_lease_is_taken(presence: Presence, passed: str, watched: bool) -> None:
    for now in (here(PASSED[passed]), elsewhere(PASSED[passed])):
        assert claim(None, presence, now, watched=watched) is Claim.TAKE


def test_a_living_owner_has_many_heartbeats_before_it_expires() -> None:
    assert LEASE_TIME_S / HEARTBEAT_S >= 10
    assert LEAST_BEATS >= 3


def test_a_watch_outlasts_two_heartbeats_and_ends_within_the_shortest_lease() -> None:
    assert 2 * HEARTBEAT_S < WATCH_S < LEAST_BEATS * HEARTBEAT_S


LIFE = {
    "a beat": (replace(HELD, beat=10), True),
    "another owner": (replace(HELD, owner=replace(ANNAS, pid=5000)), True),
    "another token": (replace(HELD, token=8, beat=9), True),
    "a corrected end": (replace(HELD, expires_at=1.0), False),
    "nothing": (HELD, False),
}


@pytest.mark.parametrize(("later", "lives"), LIFE.values(), ids=LIFE)
def test_what_is_a_sign_of_life(later: Lease, lives: bool) -> None:
    assert shows_life(HELD, later) is lives


OURS = {
    "as it was": (HELD, True),
    "renewed": (replace(HELD, beat=10, expires_at=WALL + 2 * LASTS_S), True),
    "expired and still held": (replace(HELD, expires_at=0.0), True),
    "under another token": (replace(HELD, token=8), False),
    "handed on": (replace(HELD, owner=replace(ANNAS, pid=5000)), False),
    "free": (None, False),
}


@pytest.mark.parametrize(("held", "ours"), OURS.values(), ids=OURS)
def test_who_may_still_act(held: Lease | None, ours: bool) -> None:
    assert still_ours(HELD, held) is ours


@pytest.mark.parametrize(("presence", "passed", "jump"), list(product(Presence, PASSED, JUMPS)))
def test_a_manual_lock_holds_for_its_time_whatever_became_of_the_process(
    presence: Presence, passed: str, jump: str
) -> None:
    """Not even a pid that happens to be the same again gets killed for it, and no clock that was set ends it."""
    over = passed in ("at", "after")
    now = here(PASSED[passed], JUMPS[jump])
    assert claim(MANUAL, presence, now) is (Claim.TAKE_OVER if over else Claim.REFUSE)
    assert claim(MANUAL, presence, now, watched=True) is claim(MANUAL, presence, now)


@pytest.mark.parametrize("passed", PASSED)
def test_after_a_reboot_the_wall_clock_ends_a_manual_lock(passed: str) -> None:
    over = passed in ("at", "after")
    assert claim(MANUAL, Presence.UNKNOWN, elsewhere(PASSED[passed])) is (
        Claim.TAKE_OVER if over else Claim.REFUSE
    )


def test_only_a_manual_lock_runs_out_by_itself() -> None:
    assert [MANUAL.has_run_out(here(at)) for at in PASSED.values()] == [False, False, True, True]
    assert not any(HELD.has_run_out(here(at)) for at in PASSED.values()), (
        "a dead worker's lease wants recovery"
    )


def test_a_person_is_the_same_in_every_process_and_shown_without_one() -> None:
    later = replace(HELD.owner, pid=9, started=99, boot_id="next boot", machine="m", pid_space="pid:[7]")
    assert later != HELD.owner and later.person == ANNA
    assert (ANNA.kind, str(ANNA), str(HELD.owner)) == (
        Keeper.PERSON,
        "anna@control",
        "anna@control (pid 4711)",
    )
    assert BERT != ANNA and replace(ANNA, host="other") != ANNA


BEFORE = here(PASSED["before"])
FREEING = [
    (None, Presence.GONE, ANNA, False, Freeing.NOTHING),
    (MANUAL, Presence.UNKNOWN, ANNA, False, Freeing.FREE),
    (MANUAL, Presence.UNKNOWN, BERT, False, Freeing.NEEDS_FORCE),
    (MANUAL, Presence.UNKNOWN, BERT, True, Freeing.FREE),
    (WORK, Presence.ALIVE, ANNA, False, Freeing.WAIT),
    (WORK, Presence.UNKNOWN, ANNA, False, Freeing.WAIT),
    (WORK, Presence.GONE, BERT, False, Freeing.FREE),
    (HELD, Presence.ALIVE, ANNA, False, Freeing.ABORT),
    (HELD, Presence.UNKNOWN, ANNA, False, Freeing.ABORT),
    (HELD, Presence.GONE, ANNA, False, Freeing.RECOVER),
]


@pytest.mark.parametrize(("held", "presence", "person", "force", "freeing"), FREEING)
def test_who_may_free_what(
    held: Lease | None, presence: Presence, person: Owner, force: bool, freeing: Freeing
) -> None:
    assert free(held, presence, person, BEFORE, force=force) is freeing


@pytest.mark.parametrize("held", [HELD, WORK])
@pytest.mark.parametrize("presence", Presence)
@pytest.mark.parametrize("moment", PASSED)
def test_force_and_time_change_nothing_about_what_a_process_holds(
    held: Lease, presence: Presence, moment: str
) -> None:
    """Neither lets a person free what a deployment has begun."""
    decided = {free(held, presence, ANNA, here(PASSED[moment]), force=force) for force in (False, True)}
    assert decided == {free(held, presence, BERT, BEFORE, force=False)}


@pytest.mark.parametrize("person", [ANNA, BERT])
@pytest.mark.parametrize("force", [False, True])
def test_a_lock_that_ran_out_needs_no_freeing(person: Owner, force: bool) -> None:
    assert free(MANUAL, Presence.UNKNOWN, person, here(PASSED["at"]), force=force) is Freeing.NOTHING


@pytest.mark.parametrize(
    ("held", "command"),
    [
        (MANUAL, "backstay lock release prod"),
        (HELD, "backstay abort prod"),
        (WORK, "backstay lock show prod"),
    ],
)
def test_every_lock_names_its_cure(held: Lease, command: str) -> None:
    assert command in cure(held)


def test_a_forgotten_lock_does_not_outlast_a_holiday() -> None:
    assert LEASE_TIME_S < LONGEST_LOCK_S <= 7 * 24 * 3600
