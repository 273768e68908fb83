"""What a newcomer may do about a lease: every case."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from backstay.domain.lease import (
    HEARTBEAT_S,
    LEASE_TIME_S,
    LONGEST_LOCK_S,
    Claim,
    Freeing,
    Keeper,
    Lease,
    Owner,
    Presence,
    claim,
    cure,
    free,
)

EXPIRES = 1000.0
HELD = Lease("shop", "prod", 7, Owner("anna", "control", 4711, 1, "boot"), "deploy v2", "d1", 400.0, EXPIRES)
ANNA = HELD.owner.person
BERT = replace(ANNA, name="bert")
MANUAL = replace(HELD, owner=ANNA, purpose="move the database", deployment=None)
WORK = replace(HELD, purpose="backup", deployment=None)
MOMENTS = {"before": EXPIRES - 0.001, "at": EXPIRES, "after": EXPIRES + 3600}

TABLE = {
    (Presence.ALIVE, "before"): Claim.REFUSE,
    (Presence.ALIVE, "at"): Claim.KILL_FIRST,
    (Presence.ALIVE, "after"): Claim.KILL_FIRST,
    (Presence.GONE, "before"): Claim.TAKE_OVER,
    (Presence.GONE, "at"): Claim.TAKE_OVER,
    (Presence.GONE, "after"): Claim.TAKE_OVER,
    (Presence.UNKNOWN, "before"): Claim.REFUSE,
    (Presence.UNKNOWN, "at"): Claim.TAKE_OVER,
    (Presence.UNKNOWN, "after"): Claim.TAKE_OVER,
}


@pytest.mark.parametrize(("presence", "moment"), list(product(Presence, MOMENTS)))
def test_a_held_lease(presence: Presence, moment: str) -> None:
    assert claim(HELD, presence, MOMENTS[moment]) is TABLE[presence, moment]


@pytest.mark.parametrize(("presence", "moment"), list(product(Presence, MOMENTS)))
def test_a_free_lease_is_taken(presence: Presence, moment: str) -> None:
    assert claim(None, presence, MOMENTS[moment]) is Claim.TAKE


def test_a_living_owner_has_many_heartbeats_before_it_expires() -> None:
    assert LEASE_TIME_S / HEARTBEAT_S >= 10


@pytest.mark.parametrize(("presence", "moment"), list(product(Presence, MOMENTS)))
def test_a_manual_lock_holds_for_its_time_whatever_became_of_the_process(
    presence: Presence, moment: str
) -> None:
    """Not even a pid that happens to be the same again gets killed for it."""
    expected = Claim.REFUSE if moment == "before" else Claim.TAKE_OVER
    assert claim(MANUAL, presence, MOMENTS[moment]) is expected


def test_only_a_manual_lock_runs_out_by_itself() -> None:
    assert [MANUAL.has_run_out(at) for at in MOMENTS.values()] == [False, True, True]
    assert not any(HELD.has_run_out(at) for at in MOMENTS.values()), "a dead worker's lease wants recovery"


def test_a_person_is_the_same_in_every_process_and_shown_without_one() -> None:
    later = replace(HELD.owner, pid=9, started=99, boot_id="next boot")
    assert later != HELD.owner and later.person == ANNA
    assert (ANNA.kind, str(ANNA), str(HELD.owner)) == (
        Keeper.PERSON,
        "anna@control",
        "anna@control (pid 4711)",
    )
    assert BERT != ANNA and replace(ANNA, host="other") != ANNA


BEFORE = MOMENTS["before"]
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
@pytest.mark.parametrize("moment", MOMENTS)
def test_force_and_time_change_nothing_about_what_a_process_holds(
    held: Lease, presence: Presence, moment: str
) -> None:
    """Neither lets a person free what a deployment has begun."""
    decided = {free(held, presence, ANNA, MOMENTS[moment], force=force) for force in (False, True)}
    assert decided == {free(held, presence, BERT, BEFORE, force=False)}


@pytest.mark.parametrize("person", [ANNA, BERT])
@pytest.mark.parametrize("force", [False, True])
def test_a_lock_that_ran_out_needs_no_freeing(person: Owner, force: bool) -> None:
    assert free(MANUAL, Presence.UNKNOWN, person, MOMENTS["at"], force=force) is Freeing.NOTHING


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
