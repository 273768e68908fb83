"""The outbox: written with what it tells of, sent by one sender at a time, tried again, given up, and begun anew."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backstay.adapters.store import SqlStore, open_reader, open_store
from backstay.adapters.store.schema import MIGRATIONS, revisions
from backstay.domain.deployment import DeploymentState
from backstay.domain.notification import CLAIM_S, RETRY_AFTER_S, Channel, Delivery, Notification, SendState
from backstay.errors import LeaseLost, StoreError
from tests.store import racing
from tests.store.samples import (
    APP,
    ENV,
    StillClock,
    begun,
    deployment,
    environment,
    owner,
    release,
    store_at,
)

CHANNELS = (Channel("slack", "f1"), Channel("json", "f2"))
DOWN = Delivery("the receiver answered 500")


def begun_with_channels(store: SqlStore, **extra: Any) -> int:
    settings = replace(environment(), channels=CHANNELS)
    return store.begin(deployment(), release(), settings, owner(), "deploy v1", extra).token


def outbox(store: SqlStore) -> list[Notification]:
    """Oldest first."""
    return store.notifications(APP)[::-1]


def told(store: SqlStore) -> list[tuple[str, str]]:
    return [(row.status, row.channel) for row in outbox(store)]


def attempt(store: SqlStore, delivery: Delivery, target: str = "f1") -> Notification | None:
    claimed = store.claim_notification(APP, (target,), "me")
    return store.settle_notification(claimed.id, "me", delivery) if claimed else None


def test_beginning_and_ending_tell_every_channel(store: SqlStore) -> None:
    token = begun_with_channels(store)
    everybody = ["log", "slack://[redacted]", "json://[redacted]"]
    assert told(store) == [("started", channel) for channel in everybody]
    store.move(token, "d1", DeploymentState.RUNNING)
    store.move(token, "d1", DeploymentState.BAKING)
    assert len(told(store)) == 3
    store.move(token, "d1", DeploymentState.SUCCEEDED, total_s=6.25)
    assert told(store)[3:] == [("success", channel) for channel in everybody]
    first, last = outbox(store)[0], outbox(store)[-1]
    assert first.message == "deploy of v1 by anna@control [d1]"
    assert (last.message, last.component) == ("v1 is live after 6.2 s [d1]", "all")
    assert last.deployment == "d1" and last.state is SendState.PENDING and last.attempts == 0


def test_fields_that_change_within_a_state_tell_nothing(store: SqlStore) -> None:
    token = begun_with_channels(store)
    store.move(token, "d1", DeploymentState.RUNNING)
    store.move(token, "d1", DeploymentState.RUNNING, backup="b1")
    assert {row.status for row in outbox(store)} == {"started"}


def test_only_components_made_anew_are_named(store: SqlStore) -> None:
    begun_with_channels(store, origins={"backend": "new", "frontend": "live"})
    assert outbox(store)[0].component == "backend"


def test_an_old_deployment_without_channels_tells_the_log(store: SqlStore) -> None:
    begun(store)
    assert told(store) == [("started", "log")]


def test_a_refused_attempt_is_told_as_failed(store: SqlStore) -> None:
    store.record_refused(replace(deployment(), reason="no such image"), None, environment())
    [row] = outbox(store)
    assert (row.status, row.message) == ("failed", "v1 failed: no such image [d1]")


def test_a_stale_token_tells_nothing(store: SqlStore) -> None:
    token = begun_with_channels(store)
    before = told(store)
    with pytest.raises(LeaseLost):
        store.move(token + 1, "d1", DeploymentState.FAILED)
    with pytest.raises(StoreError):
        store.move(token, "d1", DeploymentState.BAKING)
    assert told(store) == before


def test_a_writer_killed_before_its_commit_neither_ends_nor_tells(store: SqlStore, place: Path | str) -> None:
    begun_with_channels(store)
    before = told(store)
    process = racing.CONTEXT.Process(target=racing.move_and_die, args=(place, 0))
    process.start()
    process.join(60)
    assert process.exitcode == -9
    ended = store.deployment("d1")
    assert ended is not None and ended.state is DeploymentState.PENDING
    assert told(store) == before


def test_of_eight_senders_each_row_is_sent_by_one(store: SqlStore, place: Path | str) -> None:
    for number in range(20):
        store.notify(APP, ENV, "success", "all", f"message {number}", [CHANNELS[0]])
    said = racing.race(racing.send_all, place, 8)
    claimed = [id_ for answer in said for id_ in answer.split()]
    assert sorted(map(int, claimed)) == list(range(1, 41)), said
    assert {row.state for row in outbox(store)} == {SendState.SENT}
    assert {row.attempts for row in outbox(store)} == {1}


def test_a_claimed_row_is_left_alone_until_the_claim_runs_out(store: SqlStore, clock: StillClock) -> None:
    store.notify(APP, ENV, "success", "all", "hello", [])
    mine = store.claim_notification(APP, ("",), "me")
    assert mine is not None
    assert store.claim_notification(APP, ("",), "you") is None
    assert store.claim_notification(APP, ("",), "you", only=mine.id) is None
    clock.advance(CLAIM_S + 0.01)
    yours = store.claim_notification(APP, ("",), "you")
    assert yours is not None and yours.id == mine.id
    assert store.settle_notification(mine.id, "me", DOWN) is None, "it is not mine any more"
    settled = store.settle_notification(mine.id, "you", Delivery())
    assert settled is not None and settled.state is SendState.SENT


def test_eight_attempts_over_a_day_then_it_is_given_up_and_kept(store: SqlStore, clock: StillClock) -> None:
    store.notify(APP, ENV, "success", "all", "hello", [CHANNELS[0]])
    began = clock.now()
    for number, wait_s in enumerate(RETRY_AFTER_S, start=1):
        row = attempt(store, DOWN)
        assert row is not None and row.state is SendState.PENDING
        assert (row.attempts, row.last_error) == (number, DOWN.error)
        clock.advance(wait_s - 0.1)
        assert attempt(store, DOWN) is None, "not yet"
        clock.advance(0.2)
    last = attempt(store, DOWN)
    assert last is not None and last.state is SendState.FAILED
    assert (last.attempts, last.next_attempt_at, last.last_error) == (8, None, DOWN.error)
    assert 20 * 3600 < (clock.now() - began).total_seconds() < 26 * 3600
    clock.advance(10**6)
    assert attempt(store, DOWN) is None


def test_what_no_retry_can_cure_is_given_up_at_once(store: SqlStore) -> None:
    store.notify(APP, ENV, "success", "all", "hello", [CHANNELS[0]])
    row = attempt(store, Delivery("no such service", is_final=True))
    assert row is not None and (row.state, row.attempts) == (SendState.FAILED, 1)


def test_a_retry_begins_anew_with_all_that_is_not_sent(store: SqlStore, clock: StillClock) -> None:
    store.notify(APP, ENV, "success", "all", "hello", CHANNELS)
    store.notify(APP, "uat", "success", "all", "elsewhere", [])
    attempt(store, Delivery(), "")
    attempt(store, DOWN, "f1")
    attempt(store, Delivery("no such service", is_final=True), "f2")
    assert store.retry_notifications(APP, ENV) == 2
    assert store.retry_notifications("other", None) == 0
    states = [(row.state, row.attempts, row.next_attempt_at) for row in outbox(store)]
    now_s = clock.now().timestamp()
    again = (SendState.PENDING, 0, now_s)
    assert states == [(SendState.SENT, 1, None), again, again, again]


def test_an_answer_after_a_failure_takes_the_error_away(store: SqlStore, clock: StillClock) -> None:
    store.notify(APP, ENV, "success", "all", "hello", [CHANNELS[0]])
    attempt(store, DOWN)
    clock.advance(11)
    row = attempt(store, Delivery())
    assert row is not None and (row.state, row.attempts, row.last_error) == (SendState.SENT, 2, None)


def test_other_targets_and_applications_are_not_ours(store: SqlStore) -> None:
    store.notify(APP, ENV, "success", "all", "hello", [CHANNELS[0]])
    assert store.claim_notification("other", ("", "f1"), "me") is None
    assert store.claim_notification(APP, ("f2",), "me") is None
    assert store.claim_notification(APP, (), "me") is None


def test_a_reader_lists_newest_first_and_by_environment(store: SqlStore, place: Path | str) -> None:
    store.notify(APP, ENV, "success", "all", "one", [])
    store.notify(APP, "uat", "deployed", "backend", "two", [])
    reader = open_reader(place)
    assert [row.message for row in reader.notifications(APP)] == ["two", "one"]
    assert [row.message for row in reader.notifications(APP, "uat")] == ["two"]
    assert reader.notifications("other") == []


def test_a_store_from_before_the_outbox_is_upgraded(folder: Path) -> None:
    """As the first Backstay left it: its only migration, and a deployment in the middle of its work."""
    path, old = folder / "old.db", folder / "migrations"
    (old / "versions").mkdir(parents=True)
    (old / "env.py").write_text((MIGRATIONS / "env.py").read_text())
    first = MIGRATIONS / "versions" / "0001_first.py"
    (old / "versions" / first.name).write_text(first.read_text())
    open_store(path, StillClock(), migrations=old).close()
    with closing(sqlite3.connect(path)) as database:
        database.execute(
            'INSERT INTO leases VALUES (\'shop\',\'prod\',1,\'{"name":"a","host":"b","pid":1,"started":1,'
            "\"boot_id\":\"c\"}','deploy v1','d1',0,1e12)"
        )
        settings = '{"app":"shop"}'
        with store_at(folder / "other.db") as other:
            begun(other)
        with closing(sqlite3.connect(folder / "other.db")) as source:
            [settings] = source.execute("SELECT settings FROM deployments").fetchone()
        settings = settings.replace(',"channels":[]', "")
        assert "channels" not in settings
        database.execute(
            "INSERT INTO deployments (id, app, environment, kind, state, version, token, requested_by, created_at,"
            " automatic, settings, extra) VALUES ('d1','shop','prod','deploy','running','v1',1,'a@b',"
            "'2026-03-01T12:00:00.000Z',0,?,'{}')",
            [settings],
        )
        database.commit()
    with store_at(path) as store:
        store.move(1, "d1", DeploymentState.FAILED, reason="it broke")
        assert [row.message for row in outbox(store)] == ["v1 failed: it broke [d1]"]
    assert path.with_name(f"old.db.before-{revisions()[-1]}").exists()
