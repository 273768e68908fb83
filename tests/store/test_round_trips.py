"""What goes into the store comes out of it, the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from backstay.adapters.store import SqlStore, open_reader
from backstay.domain.backup import BackupState
from backstay.domain.deployment import Deployment, DeploymentState, Wish
from backstay.domain.lease import Keeper
from backstay.domain.secret import Secret
from backstay.domain.slot import Slot, Slots
from backstay.domain.step import StepState
from backstay.errors import StoreError
from backstay.ports.clock import Clock
from backstay.ports.store import Reader, Store
from tests.store import samples
from tests.store.samples import APP, ENV, StillClock, begun, raw

NOW = "2026-03-01T12:00:00.123Z"


def test_the_adapter_keeps_the_promises_of_the_port(
    store: SqlStore, place: Path | str, clock: StillClock
) -> None:
    as_store: Store = store
    as_reader: Reader = open_reader(place)
    as_clock: Clock = clock
    assert as_store.history(APP, ENV) == as_reader.history(APP, ENV) == []
    assert as_clock.now() is clock.at


def test_beginning_records_lease_release_deployment_settings_and_the_first_event(store: SqlStore) -> None:
    lease = begun(store)
    release = samples.release()

    assert store.lease(APP, ENV) == lease
    assert (lease.token, lease.deployment, lease.purpose) == (1, "d1", "deploy v1")
    assert lease.expires_at - lease.acquired_at == 600
    assert store.deployment("d1") == replace(samples.deployment(), token=1, release=release.id)
    assert store.environment_of("d1") == samples.environment()
    assert store.snapshot("d1") == {
        "config": "/srv/shop/backstay.yml",
        "fingerprints": {"SECRET_KEY": "abc"},
    }
    (event,) = store.events("d1")
    assert (event.seq, event.kind, event.at) == (1, "deployment_created", NOW)
    assert event.message == "deploy of v1 to prod by anna@control"


def test_a_release_keeps_its_identity(store: SqlStore) -> None:
    begun(store)
    kept = store.release(samples.release().id)
    assert kept == samples.release()
    assert kept is not None
    assert kept.id == samples.release().id


def test_the_same_release_is_recorded_once_and_deployed_twice(store: SqlStore) -> None:
    store.release_lease(begun(store, "d1"))
    begun(store, "d2")
    assert [d.id for d in store.history(APP, ENV)] == ["d1", "d2"]
    assert {d.release for d in store.history(APP, ENV)} == {samples.release().id}


def test_what_is_not_there_is_none_or_empty(store: SqlStore, folder: Path) -> None:
    for reader in (store, open_reader(folder / "none" / "state.db")):
        assert reader.deployment("x") is None
        assert reader.release("x") is None
        assert reader.environment_of("x") is None
        assert reader.snapshot("x") is None
        assert reader.wish("x") is None
        assert reader.lease(APP, ENV) is None
        assert reader.history(APP, ENV) == []
        assert reader.steps("x") == []
        assert reader.events("x") == []
        assert reader.backups(APP, ENV) == []
        assert reader.slots(APP, ENV) == Slots()


def test_the_journal_keeps_intent_position_and_result(store: SqlStore, clock: StillClock) -> None:
    token = begun(store).token
    store.step(token, "d1", "check", StepState.STARTED)
    store.step(token, "d1", "pull", StepState.STARTED)
    clock.advance(2)
    store.step(token, "d1", "check", StepState.DONE, result={"images": ["a"]}, took_s=1.5)
    store.step(token, "d1", "pull", StepState.FAILED, error="no such image", took_s=2.0)
    store.step(token, "d1", "check", StepState.UNDOING)

    check, pull = store.steps("d1")
    assert (check.name, check.position, check.state) == ("check", 1, StepState.UNDOING)
    assert (check.result, check.took_s, check.started_at) == ({"images": ["a"]}, 1.5, NOW)
    assert (pull.position, pull.state, pull.error) == (2, StepState.FAILED, "no such image")

    store.step(token, "d1", "pull", StepState.STARTED)
    again = store.steps("d1")[1]
    assert (again.position, again.error, again.took_s) == (2, None, None)
    assert again.started_at == "2026-03-01T12:00:02.123Z"


def test_events_are_numbered_without_gaps_and_read_from_where_one_was(store: SqlStore) -> None:
    token = begun(store).token
    store.tell(token, "d1", "step_started", "Checking", step="check", data={"n": 1, "ä": [None]})
    store.tell(token, "d1", "step_done", "Checked", step="check")
    assert [e.seq for e in store.events("d1")] == [1, 2, 3]
    fresh = store.events("d1", after=1)
    assert [(e.kind, e.step) for e in fresh] == [("step_started", "check"), ("step_done", "check")]
    assert fresh[0].data == {"n": 1, "ä": [None]}
    assert store.events("d1", after=3) == []


def test_slots_come_back_with_their_enums(store: SqlStore) -> None:
    token = begun(store).token
    store.save_slots(token, APP, ENV, samples.slots())
    back = store.slots(APP, ENV)
    assert back == samples.slots()
    assert back.live is Slot.GREEN
    assert all(isinstance(slot, Slot) for slot in back.mappings)
    store.save_slots(token, APP, ENV, back.switched(None))
    assert store.slots(APP, ENV).live is None


def test_the_catalog_is_newest_first_and_an_entry_can_change(store: SqlStore) -> None:
    token = begun(store).token
    old = samples.backup()
    new = replace(old, id="shop_prod_20260302_120000000", created_at="2026-03-02T12:00:00.000Z")
    store.add_backup(token, old)
    store.add_backup(token, new)
    store.add_backup(token, replace(old, state=BackupState.VERIFIED, pinned=True))
    assert store.backups(APP, ENV) == [new, replace(old, state=BackupState.VERIFIED, pinned=True)]


def test_a_backup_outside_a_deployment_needs_no_lease_and_never_replaces_an_entry(store: SqlStore) -> None:
    first = replace(samples.backup(), deployment=None)
    assert store.record_backup(first)
    assert not store.record_backup(
        replace(first, state=BackupState.FAILED, reason="later, under the same name")
    )
    assert store.backups(APP, ENV) == [first]


def test_a_backup_is_recorded_and_removed_beside_a_deployment(store: SqlStore) -> None:
    lease = begun(store)
    assert store.record_backup(samples.backup())
    store.remove_backup(samples.backup().id)
    store.remove_backup(samples.backup().id)
    assert store.backups(APP, ENV) == []
    assert store.lease(APP, ENV) == lease


def test_removing_one_backup_leaves_the_others(store: SqlStore) -> None:
    other = replace(samples.backup("shop_prod_20260302_120000000"), environment="uat")
    for backup in (samples.backup(), other):
        store.record_backup(backup)
    store.remove_backup(samples.backup().id)
    assert (store.backups(APP, ENV), store.backups(APP, "uat")) == ([], [other])


def test_a_deployment_moves_with_its_fields_and_gets_an_end_time(store: SqlStore) -> None:
    token = begun(store).token
    store.move(token, "d1", DeploymentState.RUNNING)
    moved = store.move(token, "d1", DeploymentState.FAILED, failed_step="check", exit_status=10, total_s=1)
    assert store.deployment("d1") == moved
    assert (moved.failed_step, moved.exit_status, moved.finished_at) == ("check", 10, NOW)


@pytest.mark.parametrize("field", ["token", "id", "colour"])
def test_fields_that_never_change_or_do_not_exist_are_refused(store: SqlStore, field: str) -> None:
    token = begun(store).token
    # `token` names an argument already, so Python itself refuses it.
    with pytest.raises(TypeError, match=field):
        store.move(token, "d1", DeploymentState.RUNNING, **{field: "x"})


def test_transitions_are_checked_and_ends_are_final(store: SqlStore) -> None:
    token = begun(store).token
    with pytest.raises(StoreError, match="d1 is pending and cannot become baking"):
        store.move(token, "d1", DeploymentState.BAKING)
    store.move(token, "d1", DeploymentState.RUNNING)
    store.move(token, "d1", DeploymentState.RUNNING, backup="b1")
    store.move(token, "d1", DeploymentState.SUCCEEDED)
    for then in DeploymentState:
        with pytest.raises(StoreError, match="is succeeded and cannot become"):
            store.move(token, "d1", then, reason="changed my mind")
    kept = store.deployment("d1")
    assert isinstance(kept, Deployment)
    assert (kept.state, kept.backup, kept.reason) == (DeploymentState.SUCCEEDED, "b1", None)


def test_anybody_may_ask_until_the_deployment_has_ended(store: SqlStore, place: Path | str) -> None:
    token = begun(store).token
    reader = open_reader(place)
    assert reader.wish("d1") is None
    assert store.ask("d1", Wish.ABORT)
    assert reader.wish("d1") is store.wish("d1") is Wish.ABORT
    store.move(token, "d1", DeploymentState.ABORTED)
    assert not store.ask("d1", Wish.ROLLBACK)
    assert store.wish("d1") is Wish.ABORT
    with pytest.raises(StoreError, match="no deployment d9"):
        store.ask("d9", Wish.ABORT)


def test_a_refused_attempt_is_history_and_takes_no_lease(store: SqlStore) -> None:
    refused = replace(samples.deployment(), reason="image not found")
    store.record_refused(refused, None, samples.environment())
    (kept,) = store.history(APP, ENV)
    assert (kept.state, kept.token, kept.release) == (DeploymentState.FAILED, None, None)
    assert kept.finished_at == NOW
    assert store.lease(APP, ENV) is None
    (event,) = store.events("d1")
    assert (event.kind, event.message) == (
        "deployment_refused",
        "deploy of v1 to prod by anna@control: image not found",
    )


def test_the_same_deployment_cannot_be_recorded_twice(store: SqlStore) -> None:
    store.release_lease(begun(store))
    with pytest.raises(StoreError, match="refused the row"):
        begun(store)
    assert store.lease(APP, ENV) is None, "the lease was taken in the same transaction, so it is free again"


def test_a_secret_never_gets_in(store: SqlStore) -> None:
    token = begun(store).token
    with pytest.raises(TypeError):
        store.tell(token, "d1", "told", "a secret", data={"key": Secret("hunter22")})
    with pytest.raises(TypeError):
        store.step(token, "d1", "check", StepState.STARTED, result={"key": Secret("hunter22")})
    assert len(store.events("d1")) == 1
    assert store.steps("d1") == []
    assert "hunter22" not in json.dumps([str(e) for e in store.events("d1")])


def test_a_lease_of_before_there_were_manual_locks_is_one_of_a_process(store: SqlStore) -> None:
    """An upgrade may happen while a worker of the older program holds its lease."""
    lease = begun(store)
    [row] = store.database.rows("SELECT owner FROM leases", {})
    newer = ("kind", "machine", "pid_space")
    older = {key: value for key, value in json.loads(row["owner"]).items() if key not in newer}
    assert len(older) == 5
    raw(store, "UPDATE leases SET owner = :owner", owner=json.dumps(older))
    assert store.lease(APP, ENV) == lease
    assert store.heartbeat(lease).owner.kind is Keeper.PROCESS
