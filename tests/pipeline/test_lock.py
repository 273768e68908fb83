"""The manual lock, over the real store and a clock that the test moves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from backstay.domain.deployment import DeploymentState, Wish
from backstay.domain.lease import Lease, Owner, Presence
from backstay.domain.plan import Plan
from backstay.domain.room import Memory, Space
from backstay.errors import BackstayError, Locked
from backstay.pipeline.begin import Beginner
from backstay.pipeline.lock import Locker, lock
from backstay.pipeline.record import as_record
from backstay.pipeline.resolve import plan_deploy
from backstay.pipeline.times import rfc3339
from tests.pipeline.conftest import OWNER, Town

ANN = OWNER.person
HOUR = 3600.0
APP, ENV = "shop", "dev"


@dataclass
class Machine:
    """A host on which every process is gone except those in `alive`."""

    me: Owner = OWNER
    alive: tuple[Owner, ...] = ()

    def owner(self) -> Owner:
        return self.me

    def presence(self, owner: Owner) -> Presence:
        return Presence.ALIVE if owner in self.alive else Presence.GONE

    def end(self, owner: Owner) -> None:
        raise AssertionError(f"nobody may kill {owner}")

    def space(self, path: str) -> Space | None:
        raise AssertionError(f"a lock needs no room: {path}")

    def memory(self) -> Memory:
        raise AssertionError("a lock needs no memory")


@dataclass
class Door:
    """What ann and bert do at the lock of one environment."""

    town: Town
    machine: Machine

    def locker(self, name: str = "ann") -> Locker:
        self.machine.me = replace(OWNER, name=name)
        return Locker(self.town.store, self.machine)

    def shown(self) -> str | None:
        document = lock(self.town.store, APP, ENV)
        return f"{document['owner']}: {document['purpose']}" if document else None

    def deploy(self, version: str) -> str:
        """Begin a deployment as the command does; its id. The worker is not part of this."""
        town = self.town
        plan: Plan = plan_deploy(
            town.application, version, (), False, town.store, lambda i, v: town.engine.digest(i, v, None)
        )
        starting = Beginner(town.store, self.machine, town.clock, lambda lease, deployment: None)
        starting.recover(APP, ENV, lambda dead: None)
        return starting.start(version, plan, town.environment, as_record(plan, "abc", "backstay.yml", {})).id


@pytest.fixture
def door(town: Town) -> Door:
    return Door(town, Machine())


def test_a_lock_keeps_everybody_out_until_it_is_released(door: Door) -> None:
    acquired = door.locker().acquire(APP, ENV, "move the database", 2 * HOUR)
    assert (acquired.lease.owner, acquired.lease.token, acquired.told) == (ANN, 1, "")
    assert door.shown() == "ann@here: move the database"
    with pytest.raises(Locked, match=r"dev is locked by ann@here for move the database, since .*T10:00.* until "
                                     r"2026-11-23T12:00:00.000Z") as refused:  # fmt: skip
        door.deploy("v1")
    assert "backstay lock release dev" in (refused.value.hint or "")
    with pytest.raises(Locked, match="ann@here for move the database"):
        door.locker("bert").acquire(APP, ENV, None, HOUR)
    assert door.locker().release(APP, ENV, force=False) == acquired.lease
    assert door.shown() is None
    assert door.deploy("v1") == "v1"


def test_the_process_that_locked_is_gone_and_the_lock_is_not(door: Door) -> None:
    """`backstay lock acquire` ends at once; a later process with its very pid is not it."""
    door.locker().acquire(APP, ENV, None, HOUR)
    door.town.clock.sleep(HOUR - 1)
    for alive in ((), (OWNER,)):
        door.machine.alive = alive
        with pytest.raises(Locked):
            door.deploy("v1")


def test_it_ends_by_itself_and_the_next_deployment_says_so(door: Door) -> None:
    door.locker().acquire(APP, ENV, "lunch", HOUR)
    door.town.clock.sleep(HOUR)
    assert door.shown() is None
    id_ = door.deploy("v1")
    [event] = [e for e in door.town.store.events(id_) if e.kind == "lock_run_out"]
    assert "the lock of ann@here for lunch ran out at 2026-11-23T11:00:00.000Z" in event.message
    assert door.town.store.deployment(id_).token == 2  # type: ignore[union-attr]


@pytest.mark.parametrize("days", [-3, 3])
def test_a_clock_that_was_set_neither_ends_nor_prolongs_it(door: Door, days: int) -> None:
    door.locker().acquire(APP, ENV, "lunch", HOUR)
    door.town.clock.sleep(HOUR / 2)
    door.town.clock.start += timedelta(days=days)
    with pytest.raises(Locked):
        door.deploy("v1")
    document = lock(door.town.store, APP, ENV)
    ends = door.town.clock.now() + timedelta(seconds=HOUR / 2)
    assert document is not None and document["expires_at"] == rfc3339(ends)
    door.town.clock.sleep(HOUR / 2)
    assert door.shown() is None
    id_ = door.deploy("v1")
    [event] = [e for e in door.town.store.events(id_) if e.kind == "lock_run_out"]
    assert f"ran out at {rfc3339(ends)}" in event.message


def test_after_a_reboot_only_the_wall_clock_is_left_to_end_it(door: Door) -> None:
    door.locker().acquire(APP, ENV, "lunch", HOUR)
    door.town.clock.boot_id = "next boot"
    door.town.clock.sleep(HOUR - 1)
    with pytest.raises(Locked):
        door.deploy("v1")
    door.town.clock.sleep(1)
    door.deploy("v1")


def test_after_a_reboot_a_clock_set_back_prolongs_it_once_and_not_for_ever(door: Door) -> None:
    door.locker().acquire(APP, ENV, "lunch", HOUR)
    door.town.clock.boot_id = "next boot"
    door.town.clock.start -= timedelta(days=3)
    with pytest.raises(Locked):
        door.deploy("v1")
    door.town.clock.sleep(HOUR)
    door.deploy("v1")


def test_the_next_lock_says_so_too(door: Door) -> None:
    door.locker().acquire(APP, ENV, "lunch", HOUR)
    door.town.clock.sleep(2 * HOUR)
    acquired = door.locker("bert").acquire(APP, ENV, "tea", HOUR)
    assert "lock of ann@here for lunch ran out" in acquired.told
    assert (acquired.lease.token, door.shown()) == (2, "bert@here: tea")


def test_one_extends_ones_own_and_only_on_request(door: Door) -> None:
    """Two jobs under one login must not both believe that they hold it."""
    first = door.locker().acquire(APP, ENV, "tea", HOUR).lease
    door.town.clock.sleep(HOUR / 2)
    with pytest.raises(Locked) as refused:
        door.locker().acquire(APP, ENV, "tea", HOUR)
    assert "--extend" in (refused.value.hint or "")
    longer = door.locker().acquire(APP, ENV, None, 2 * HOUR, extend=True)
    assert longer.extended
    assert longer.lease.expires_at == first.acquired_at + 2.5 * HOUR
    assert (longer.lease.token, longer.lease.acquired_at) == (first.token, first.acquired_at)
    assert door.town.store.lease(APP, ENV) == longer.lease
    renamed = door.locker().acquire(APP, ENV, "cake", HOUR, extend=True)
    assert (renamed.lease.purpose, renamed.lease.token) == ("cake", first.token)


def test_what_was_taken_away_while_extending_is_locked_anew_or_refused(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = door.town.store
    extend = store.extend_lease
    bert = replace(OWNER, name="bert").person
    for thief, refused in ((None, False), (bert, True)):
        door.locker().acquire(APP, ENV, "tea", HOUR)

        def too_late(lease: Lease, purpose: str, lasts_s: float, thief: Owner | None = thief) -> Lease:
            store.release_lease(lease)
            if thief is not None:
                store.take_lease(APP, ENV, thief, "cake", None)
            return extend(lease, purpose, lasts_s)

        monkeypatch.setattr(store, "extend_lease", too_late)
        if refused:
            with pytest.raises(Locked, match="bert@here for cake"):
                door.locker().acquire(APP, ENV, None, HOUR, extend=True)
        else:
            again = door.locker().acquire(APP, ENV, None, HOUR, extend=True)
            assert (again.extended, again.lease.token) == (False, 2)
            store.release_lease(again.lease)


def test_nobody_extends_somebody_elses(door: Door) -> None:
    door.locker().acquire(APP, ENV, None, HOUR)
    with pytest.raises(Locked, match="ann@here") as refused:
        door.locker("bert").acquire(APP, ENV, None, HOUR, extend=True)
    assert "--extend" not in (refused.value.hint or "")


def test_extending_what_ran_out_locks_anew(door: Door) -> None:
    door.locker().acquire(APP, ENV, None, HOUR)
    door.town.clock.sleep(HOUR)
    acquired = door.locker().acquire(APP, ENV, None, HOUR, extend=True)
    assert (acquired.extended, acquired.lease.token) == (False, 2)


def test_somebody_elses_wants_force(door: Door) -> None:
    held = door.locker().acquire(APP, ENV, "tea", HOUR).lease
    with pytest.raises(Locked, match="ann@here for tea") as refused:
        door.locker("bert").release(APP, ENV, force=False)
    assert "ask ann" in (refused.value.hint or "") and "--force" in (refused.value.hint or "")
    assert door.town.store.lease(APP, ENV) == held
    assert door.locker("bert").release(APP, ENV, force=True) == held
    assert door.shown() is None


def test_releasing_what_is_free_is_no_fault(door: Door) -> None:
    """So that a job may always do it in the end."""
    assert door.locker().release(APP, ENV, force=False) is None
    door.locker().acquire(APP, ENV, None, HOUR)
    door.town.clock.sleep(HOUR)
    assert door.locker("bert").release(APP, ENV, force=False) is None


@pytest.mark.parametrize("force", [False, True])
def test_a_living_deployment_is_aborted_not_released(door: Door, force: bool) -> None:
    door.machine.alive = (OWNER,)
    door.deploy("v1")
    with pytest.raises(Locked, match="deploy v1") as refused:
        door.locker().release(APP, ENV, force=force)
    assert "backstay abort dev" in (refused.value.hint or "")
    with pytest.raises(Locked, match="deploy v1"):
        door.locker().acquire(APP, ENV, None, HOUR)
    door.town.clock.sleep(HOUR)
    with pytest.raises(Locked):
        door.locker().acquire(APP, ENV, None, HOUR)
    assert door.town.store.lease(APP, ENV).deployment == "v1"  # type: ignore[union-attr]


@pytest.mark.parametrize("force", [False, True])
def test_what_a_dead_worker_left_is_recovered_not_released(door: Door, force: bool) -> None:
    door.deploy("v1")
    for act in (
        lambda: door.locker().release(APP, ENV, force=force),
        lambda: door.locker().acquire(APP, ENV, None, HOUR),
    ):
        with pytest.raises(Locked) as refused:
            act()
        assert "backstay recover dev" in (refused.value.hint or "")
    assert door.town.store.lease(APP, ENV).deployment == "v1"  # type: ignore[union-attr]


def test_a_deployment_that_lost_its_lease_half_way_is_not_locked_over(door: Door) -> None:
    """Its worker never started, say: the lease is free, and yet only a recovery tells what must be taken back."""
    door.deploy("v1")
    store = door.town.store
    store.release_lease(store.lease(APP, ENV))  # type: ignore[arg-type]
    with pytest.raises(Locked, match=r"the worker of v1 .* died and left it pending"):
        door.locker().acquire(APP, ENV, None, HOUR)
    store.ask("v1", Wish.ABORT)
    lease = store.take_lease(APP, ENV, OWNER, "recover", "v1")
    door.machine.alive = (OWNER,)
    with pytest.raises(Locked, match="for recover"):
        door.locker().acquire(APP, ENV, None, HOUR)
    assert store.deployment("v1").state is DeploymentState.PENDING  # type: ignore[union-attr]
    store.release_lease(lease)


def test_a_dead_process_without_a_deployment_leaves_nothing_to_recover(door: Door) -> None:
    store = door.town.store
    store.take_lease(APP, ENV, OWNER, "backup", None)
    door.machine.alive = (OWNER,)
    with pytest.raises(Locked, match="for backup"):
        door.locker().release(APP, ENV, force=True)
    door.machine.alive = ()
    assert door.locker("bert").release(APP, ENV, force=False) is not None
    store.take_lease(APP, ENV, OWNER, "backup", None)
    assert door.locker().acquire(APP, ENV, "tea", HOUR).lease.token == 3


def test_environments_and_applications_do_not_know_each_other(door: Door) -> None:
    for app, environment in (("shop", "prod"), ("other", "dev")):
        assert door.locker().acquire(app, environment, None, HOUR).lease.token == 1
    assert door.shown() is None
    door.deploy("v1")


def test_the_document_says_what_the_contract_says(door: Door) -> None:
    door.locker().acquire(APP, ENV, "tea", HOUR)
    assert lock(door.town.store, APP, ENV) == {
        "token": 1,
        "owner": "ann@here",
        "purpose": "tea",
        "acquired_at": "2026-11-23T10:00:00.000Z",
        "expires_at": "2026-11-23T11:00:00.000Z",
        "kind": "person",
        "deployment": None,
    }


def test_every_refusal_says_that_nothing_changed(door: Door) -> None:
    door.locker().acquire(APP, ENV, None, HOUR)
    for act in (
        lambda: door.deploy("v1"),
        lambda: door.locker("bert").acquire(APP, ENV, None, HOUR),
        lambda: door.locker("bert").release(APP, ENV, force=False),
    ):
        with pytest.raises(BackstayError) as refused:
            act()
        assert refused.value.exit_status == 11
        assert refused.value.state == "nothing was changed" and refused.value.hint
