"""Who may begin while somebody seems to hold the environment: the watch, and what clocks that were set do to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from backstay.domain.lease import LEASE_TIME_S, WATCH_S, Lease, Owner, Presence
from backstay.errors import Locked
from backstay.pipeline.begin import Beginner
from backstay.pipeline.resolve import plan_deploy
from tests.pipeline.conftest import OWNER, Town

APP, ENV = "shop", "dev"
NEWCOMER = replace(OWNER, name="bert", pid=99)
ELSEWHERE = replace(OWNER, name="carl", host="another-host", pid=7, boot_id="of that host")


@dataclass
class Gate:
    """A newcomer in front of a held environment, and what he is told while he waits."""

    town: Town
    told: list[str] = field(default_factory=list)

    def held_by(self, owner: Owner, presence: Presence) -> Lease:
        lease = self.town.store.take_lease(APP, ENV, owner, "deploy v1", None)
        self.town.host.presences[lease.owner.pid] = presence
        return lease

    def of_another_host(self) -> Lease:
        """As its own worker wrote it, with the uptime of its own machine."""
        here, self.town.clock.boot_id = self.town.clock.boot_id, ELSEWHERE.boot_id
        lease = self.held_by(ELSEWHERE, Presence.UNKNOWN)
        self.town.clock.boot_id = here
        return lease

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.town.clock.start += timedelta(seconds=seconds)

    def claimed(self) -> Lease | None:
        town = self.town
        return Beginner(town.store, town.host, town.clock, lambda lease, id_: None, self.told.append).claimed(
            APP, ENV
        )

    def meanwhile(self, after_s: float, act: Callable[[], object]) -> None:
        """Do `act` once, so many seconds into the watch."""
        done: list[object] = []
        due = self.town.clock.elapsed_s + after_s

        def tick(elapsed_s: float) -> None:
            if elapsed_s >= due and not done:
                done.append(act())

        self.town.clock.on_tick = tick

    @property
    def now_s(self) -> float:
        return self.town.clock.elapsed_s


@pytest.fixture
def gate(town: Town) -> Gate:
    return Gate(town)


def test_a_free_environment_and_a_dead_owner_cost_no_time(gate: Gate) -> None:
    assert gate.claimed() is None
    lease = gate.held_by(OWNER, Presence.GONE)
    assert gate.claimed() == lease
    assert (gate.now_s, gate.told) == (0.0, [])


def test_a_living_owner_refuses_at_once(gate: Gate) -> None:
    gate.held_by(OWNER, Presence.ALIVE)
    gate.town.clock.sleep(LEASE_TIME_S - 1)
    before = gate.now_s
    with pytest.raises(Locked, match="locked by ann@here"):
        gate.claimed()
    assert gate.now_s == before and gate.town.host.ended == []


def test_a_hung_owner_of_this_host_is_watched_killed_and_replaced(gate: Gate) -> None:
    lease = gate.held_by(OWNER, Presence.ALIVE)
    gate.town.clock.sleep(LEASE_TIME_S)
    before = gate.now_s
    assert gate.claimed() == lease
    assert gate.town.host.ended == [OWNER]
    assert WATCH_S <= gate.now_s - before < WATCH_S + 1
    assert "has not been heard of for 600 s; watching it for 11 s more" in gate.told[0]
    assert "hangs: killing it" in gate.told[1]


def test_an_owner_that_only_slept_with_its_machine_is_seen_to_beat_and_not_killed(gate: Gate) -> None:
    """The uptime counts the sleep, and the worker wakes when we do."""
    lease = gate.held_by(OWNER, Presence.ALIVE)
    gate.town.clock.sleep(8 * 3600)
    before = gate.now_s
    gate.meanwhile(4, lambda: gate.town.store.heartbeat(lease))
    with pytest.raises(Locked):
        gate.claimed()
    assert gate.town.host.ended == [] and 4 <= gate.now_s - before < 5


def test_an_owner_elsewhere_that_is_silent_is_replaced_without_being_touched(gate: Gate) -> None:
    lease = gate.of_another_host()
    gate.town.clock.sleep(LEASE_TIME_S)
    before = gate.now_s
    assert gate.claimed() == lease
    assert gate.town.host.ended == [] and gate.now_s - before >= WATCH_S


@pytest.mark.parametrize("days", [-3, 3])
def test_a_clock_that_was_set_takes_nobodys_lease_here(gate: Gate, days: int) -> None:
    """Before, three days forward had a healthy worker killed."""
    gate.held_by(OWNER, Presence.ALIVE)
    gate.jump(days * 86400.0)
    with pytest.raises(Locked) as refused:
        gate.claimed()
    until = gate.town.clock.now() + timedelta(seconds=LEASE_TIME_S)
    assert f"at most until {until:%Y-%m-%dT%H:%M:%S}" in refused.value.message, "the end is put right as well"
    assert (gate.now_s, gate.town.host.ended) == (0.0, [])


def test_a_clock_that_was_set_forward_takes_no_living_owners_lease_elsewhere(gate: Gate) -> None:
    lease = gate.of_another_host()
    gate.jump(3 * 86400.0)
    gate.meanwhile(5, lambda: gate.town.store.heartbeat(lease))
    with pytest.raises(Locked, match="carl@another-host"):
        gate.claimed()
    assert gate.now_s == pytest.approx(5, abs=0.3), "the first beat is enough"


def test_a_clock_that_was_set_back_does_not_lock_for_ever(gate: Gate) -> None:
    """The owner elsewhere is dead; nobody writes its end anew but who comes and sees that it cannot be."""
    lease = gate.of_another_host()
    gate.jump(-3 * 86400.0)
    with pytest.raises(Locked):
        gate.claimed()
    gate.town.clock.sleep(LEASE_TIME_S - 1)
    with pytest.raises(Locked):
        gate.claimed()
    gate.town.clock.sleep(1)
    claimed = gate.claimed()
    assert claimed is not None and claimed.token == lease.token


def test_a_reboot_proves_that_the_owner_is_gone_whatever_the_clock_says(gate: Gate) -> None:
    lease = gate.held_by(OWNER, Presence.GONE)
    gate.town.clock.boot_id = "next boot"
    gate.jump(-3 * 86400.0)
    claimed = gate.claimed()
    assert claimed is not None and claimed.token == lease.token


def test_an_owner_that_dies_while_it_is_watched_is_replaced_at_once(gate: Gate) -> None:
    lease = gate.held_by(OWNER, Presence.ALIVE)
    gate.town.clock.sleep(LEASE_TIME_S)
    before = gate.now_s
    gate.meanwhile(1, lambda: gate.town.host.presences.update({OWNER.pid: Presence.GONE}))
    assert gate.claimed() == lease
    assert gate.now_s - before < 2 and gate.town.host.ended == []


def test_a_lease_that_is_given_back_while_it_is_watched_is_free(gate: Gate) -> None:
    lease = gate.of_another_host()
    gate.town.clock.sleep(LEASE_TIME_S)
    gate.meanwhile(1, lambda: gate.town.store.release_lease(lease))
    assert gate.claimed() is None


def test_of_two_that_watch_one_wins_and_the_other_is_refused(gate: Gate) -> None:
    lease = gate.of_another_host()
    gate.town.clock.sleep(LEASE_TIME_S)
    gate.meanwhile(
        1, lambda: gate.town.store.take_lease(APP, ENV, NEWCOMER, "deploy v2", None, replaces=lease)
    )
    with pytest.raises(Locked, match="bert@here"):
        gate.claimed()


def test_a_recovery_keeps_the_lease_as_long_as_the_deployments_policy_says(town: Town) -> None:
    town.policy = replace(town.policy, lease_s=30)
    town.begin(
        plan_deploy(
            town.application, "v1", (), False, town.store, lambda i, v: town.engine.digest(i, v, None)
        )
    )
    town.host.presences[OWNER.pid] = Presence.GONE
    taken: list[Lease] = []
    Beginner(town.store, town.host, town.clock, lambda lease, id_: taken.append(lease)).recover(
        APP, ENV, lambda dead: None
    )
    assert [lease.lasts_s for lease in taken] == [30]
