"""The lease and its token: one acts, and an owner that lost it cannot write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backstay.adapters.store import SqlStore
from backstay.domain.deployment import DeploymentState, Wish
from backstay.domain.lease import Lease
from backstay.domain.step import StepState
from backstay.errors import LeaseLost, Locked
from tests.store import samples
from tests.store.samples import APP, ENV, StillClock, begun, owner, raw

WRITES: dict[str, Callable[[SqlStore, int], object]] = {
    "move": lambda store, token: store.move(token, "d1", DeploymentState.RUNNING),
    "step": lambda store, token: store.step(token, "d1", "check", StepState.STARTED),
    "tell": lambda store, token: store.tell(token, "d1", "told", "hello"),
    "save_slots": lambda store, token: store.save_slots(token, APP, ENV, samples.slots()),
    "add_backup": lambda store, token: store.add_backup(token, samples.backup()),
}


def everything(store: SqlStore) -> tuple[object, ...]:
    return (
        store.history(APP, ENV),
        store.steps("d1"),
        store.events("d1"),
        store.slots(APP, ENV),
        store.backups(APP, ENV),
        store.lease(APP, ENV),
    )


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_stale_token_is_refused_and_nothing_is_written(
    store: SqlStore, write: Callable[[SqlStore, int], object]
) -> None:
    stale = begun(store)
    store.take_lease(APP, ENV, owner("bert", 99), "recover d1", "d1", replaces=stale)
    before = everything(store)
    with pytest.raises(LeaseLost, match=r"taken over by bert@control pid 99: .* token 2, this process .* 1"):
        write(store, stale.token)
    assert everything(store) == before
    write(store, 2)
    assert everything(store) != before


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_after_the_lease_was_given_back_its_token_writes_no_more(
    store: SqlStore, write: Callable[[SqlStore, int], object]
) -> None:
    lease = begun(store)
    store.release_lease(lease)
    before = everything(store)
    with pytest.raises(LeaseLost, match="token 1 is no longer held"):
        write(store, lease.token)
    assert everything(store) == before


def test_an_expired_lease_still_writes_until_somebody_takes_it(store: SqlStore, clock: StillClock) -> None:
    lease = begun(store)
    clock.advance(3600)
    store.tell(lease.token, "d1", "told", "still here")
    renewed = store.heartbeat(lease)
    assert renewed.expires_at == clock.now().timestamp() + 600
    assert renewed == store.lease(APP, ENV)


def test_a_heartbeat_counts_and_says_when_it_was_given(store: SqlStore, clock: StillClock) -> None:
    lease = begun(store)
    assert (lease.beat, lease.heard, lease.lasts_s) == (0, clock.uptime(), 600)
    clock.advance(5)
    for beat in (1, 2):
        assert store.heartbeat(lease).beat == beat
    held = store.lease(APP, ENV)
    assert held is not None and (held.beat, held.heard) == (2, clock.uptime())
    store.release_lease(held)
    assert begun(store, "d2", "v2").beat == 0, "who comes next begins anew"


def test_a_lease_lasts_as_long_as_the_policy_says(store: SqlStore, clock: StillClock) -> None:
    settings = samples.environment()
    short = replace(settings, policy=replace(settings.policy, lease_s=30))
    lease = store.begin(
        samples.deployment(), samples.release(), short, owner(), "deploy v1", {}, replaces=None
    )
    assert lease.expires_at == clock.now().timestamp() + 30
    clock.advance(20)
    assert store.adopt(lease, owner(pid=5000)).expires_at == clock.now().timestamp() + 30
    assert store.heartbeat(lease).expires_at == clock.now().timestamp() + 30


@pytest.mark.parametrize("jump_s", [-3 * 86400, 3 * 86400])
def test_the_end_of_a_lease_is_put_right_after_the_clock_was_set(
    store: SqlStore, clock: StillClock, jump_s: float
) -> None:
    lease = begun(store)
    assert store.correct_lease(lease) == lease, "nothing is wrong, and nothing is written"
    clock.advance(100)
    clock.jump(jump_s)
    corrected = store.correct_lease(lease)
    assert corrected is not None
    assert corrected.expires_at == pytest.approx(clock.now().timestamp() + 500)
    assert replace(corrected, expires_at=lease.expires_at) == lease
    assert store.lease(APP, ENV) == corrected, "no beat was counted for it"
    store.release_lease(lease)
    assert store.correct_lease(lease) is None


def test_a_lease_from_before_uptimes_were_recorded_still_counts(store: SqlStore, clock: StillClock) -> None:
    lease = begun(store)
    raw(store, "UPDATE leases SET lasts_s = NULL, beat = NULL, heard_boot = NULL")
    assert store.lease(APP, ENV) == replace(lease, lasts_s=600, heard=None)
    assert store.heartbeat(lease).heard == clock.uptime()


def test_a_held_lease_names_its_holder(store: SqlStore) -> None:
    begun(store)
    with pytest.raises(Locked) as refused:
        begun(store, "d2", "v2")
    assert refused.value.message == (
        "prod of shop is locked by anna@control pid 4711 for deploy v1 (d1), since 2026-03-01T12:00:00.123Z,"
        " until 2026-03-01T12:10:00.123Z unless renewed"
    )
    assert "backstay abort prod" in (refused.value.hint or "")
    assert "backstay attach prod" in (refused.value.hint or "")
    assert [d.id for d in store.history(APP, ENV)] == ["d1"]
    assert store.release(samples.release("v2").id) is None


def test_environments_do_not_lock_each_other(store: SqlStore) -> None:
    begun(store)
    other = store.take_lease(APP, "uat", owner(), "deploy v1", None)
    assert other.token == 1
    with pytest.raises(LeaseLost):
        store.save_slots(other.token + 1, APP, ENV, samples.slots())


def test_taking_over_replaces_exactly_the_lease_that_was_seen(store: SqlStore) -> None:
    seen = begun(store)
    adopted = store.adopt(seen, owner(pid=5000))
    with pytest.raises(Locked, match="pid 5000"):
        store.take_lease(APP, ENV, owner("bert"), "recover", "d1", replaces=seen)
    taken = store.take_lease(APP, ENV, owner("bert"), "recover", "d1", replaces=adopted)
    assert taken.token == 2
    with pytest.raises(Locked, match="bert@control"):
        store.take_lease(APP, ENV, owner("carl"), "recover", "d1", replaces=adopted)


def test_a_manual_lock_lasts_as_asked_for_and_is_extended_under_its_token(
    store: SqlStore, clock: StillClock
) -> None:
    anna = owner().person
    lease = store.take_lease(APP, ENV, anna, "tea", None, lasts_s=7200)
    assert lease.expires_at == clock.now().timestamp() + 7200
    clock.advance(60)
    extended = store.extend_lease(lease, "cake", 3600)
    assert extended == replace(
        lease,
        purpose="cake",
        expires_at=clock.now().timestamp() + 3600,
        lasts_s=3600,
        beat=1,
        heard=clock.uptime(),
    )
    assert store.lease(APP, ENV) == extended
    with pytest.raises(Locked, match=r"locked by anna@control for cake, since .*Z, until \S*Z$") as refused:
        begun(store)
    assert "backstay lock release prod" in (refused.value.hint or "")
    store.release_lease(extended)
    with pytest.raises(LeaseLost):
        store.extend_lease(extended, "cake", 3600)


def test_a_manual_lock_that_was_extended_meanwhile_is_not_taken_over(store: SqlStore) -> None:
    """Somebody saw that its time was over; it is no longer."""
    seen = store.take_lease(APP, ENV, owner().person, "tea", None, lasts_s=1)
    extended = store.extend_lease(seen, "tea", 3600)
    with pytest.raises(Locked, match="anna@control for tea"):
        begun(store, replaces=seen)
    assert store.history(APP, ENV) == []
    assert begun(store, replaces=extended).token == 2


def test_begin_takes_over_a_dead_owner(store: SqlStore) -> None:
    dead = begun(store)
    assert begun(store, "d2", "v2", replaces=dead).token == 2
    with pytest.raises(LeaseLost):
        store.heartbeat(dead)


def test_a_lease_that_became_free_meanwhile_is_taken(store: SqlStore) -> None:
    seen = begun(store)
    store.release_lease(seen)
    assert store.take_lease(APP, ENV, owner("bert"), "recover", "d1", replaces=seen).token == 2


def test_adoption_keeps_the_token_and_happens_once(store: SqlStore, clock: StillClock) -> None:
    lease = begun(store)
    clock.advance(5)
    worker = owner(pid=5000)
    adopted = store.adopt(lease, worker)
    assert adopted == replace(
        lease, owner=worker, expires_at=lease.expires_at + 5, beat=1, heard=clock.uptime()
    )
    assert store.adopt(lease, worker) == replace(adopted, beat=2), "saying it twice is harmless"
    with pytest.raises(LeaseLost, match="handed to anna@control pid 5000"):
        store.adopt(lease, owner(pid=6000))


def test_a_stale_release_frees_nothing(store: SqlStore) -> None:
    stale = begun(store)
    taken = store.take_lease(APP, ENV, owner("bert"), "recover", "d1", replaces=stale)
    store.release_lease(stale)
    assert store.lease(APP, ENV) == taken
    store.release_lease(taken)
    store.release_lease(taken)
    assert store.lease(APP, ENV) is None


def test_a_wish_needs_no_token(store: SqlStore) -> None:
    begun(store)
    assert store.ask("d1", Wish.ROLLBACK)


_numbers = count(1)
ACTIONS = st.lists(st.sampled_from(["take", "take_over", "adopt", "release", "heartbeat", "stale_release"]))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS)
def test_tokens_only_grow(actions: list[str], store: SqlStore) -> None:
    environment = f"e{next(_numbers)}"
    given_out: list[int] = []
    held: Lease | None = None
    last: Lease | None = None
    for number, action in enumerate(actions):
        someone = owner(pid=1000 + number)
        if action == "take" and held is not None:
            with pytest.raises(Locked):
                store.take_lease(APP, environment, someone, "x", None)
        elif action in ("take", "take_over"):
            held = last = store.take_lease(APP, environment, someone, "x", None, replaces=held)
            given_out.append(held.token)
        elif action == "adopt" and held is not None:
            held = last = store.adopt(held, someone)
        elif action == "heartbeat" and held is not None:
            held = store.heartbeat(held)
        elif action == "release" and held is not None:
            store.release_lease(held)
            held = None
        elif action == "stale_release" and last is not None and last.token > 1:
            store.release_lease(replace(last, token=last.token - 1))
        assert store.lease(APP, environment) == held
    assert given_out == list(range(1, len(given_out) + 1))
