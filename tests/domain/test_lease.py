"""What a newcomer may do about a lease: every case."""

from __future__ import annotations

from itertools import product

import pytest

from backstay.domain.lease import HEARTBEAT_S, LEASE_TIME_S, Claim, Lease, Owner, Presence, claim

EXPIRES = 1000.0
HELD = Lease("shop", "prod", 7, Owner("anna", "control", 4711, 1, "boot"), "deploy v2", "d1", 400.0, EXPIRES)
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
