"""Telling beside doing: deployments over doubles, a real outbox, and receivers that are dead, slow or moody."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from backstay.adapters.clock import SystemClock
from backstay.adapters.store import SqlStore, open_store
from backstay.domain import notification as domain
from backstay.domain.deployment import DeploymentState
from backstay.domain.environment import Environment
from backstay.domain.notification import Channel, Delivery, Notification
from backstay.domain.smoke import Answer
from backstay.errors import StoreError
from backstay.pipeline.notify import Sender, send_now
from backstay.ports.store import Store
from tests.pipeline.conftest import Town

SLACK, MAIL = Channel("slack", "f1"), Channel("mailto", "f2")


class TellingTown(Town):
    """A town whose environment has receivers."""

    @property
    def environment(self) -> Environment:
        return replace(super().environment, channels=(SLACK, MAIL))


@dataclass
class FakeReceivers:
    """Take everything, except: `hung` targets never answer, and `failing` ones fail so many times first."""

    hung: set[str] = field(default_factory=set)
    failing: dict[str, int] = field(default_factory=dict)
    taken: list[tuple[str, str]] = field(default_factory=list)
    tries: int = 0
    released: threading.Event = field(default_factory=threading.Event)
    targets: tuple[str, ...] = ("", "f1", "f2")

    def deliver(self, notification: Notification) -> Delivery:
        self.tries += 1
        target = notification.target
        if target in self.hung:
            self.released.wait(30)
            if target in self.hung:
                return Delivery("down")
        if self.failing.get(target, 0) > 0:
            self.failing[target] -= 1
            return Delivery("down")
        self.taken.append((target, notification.status))
        return Delivery()

    def by(self, target: str) -> list[str]:
        return [status for to, status in self.taken if to == target]


@contextmanager
def sending(store: Store, receivers: FakeReceivers) -> Iterator[Sender]:
    sender = Sender(store, "shop", lambda: receivers)
    sender.start()
    try:
        yield sender
    finally:
        receivers.released.set()
        sender.finish(10)


def until(holds: object, seconds: float = 10) -> None:
    assert callable(holds)
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


def states(store: Store, target: str) -> list[str]:
    """Oldest first."""
    rows = reversed(store.notifications("shop"))
    return [f"{row.status} {row.state} {row.attempts}" for row in rows if row.target == target]


@pytest.fixture
def telling(town: Town) -> TellingTown:
    return TellingTown(town.store, town.folder, town.clock)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight attempts within a second."""
    monkeypatch.setattr(domain, "RETRY_AFTER_S", (0.1,) * 7)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    """With a clock that runs, so that what waits becomes due."""
    with open_store(tmp_path / "running.db", SystemClock()) as opened:
        yield opened


def test_everybody_hears_of_start_and_success_once(telling: TellingTown) -> None:
    receivers = FakeReceivers()
    with sending(telling.store, receivers):
        assert telling.deploy("v1").state is DeploymentState.SUCCEEDED
    for target in receivers.targets:
        assert receivers.by(target) == ["started", "success"]


def test_a_reversed_release_is_told_as_a_rollback(telling: TellingTown) -> None:
    telling.deploy("v1")
    receivers = FakeReceivers()
    telling.prober.slot = lambda: "blue"
    with sending(telling.store, receivers):
        assert telling.deploy("v2").state is DeploymentState.ROLLED_BACK
    assert receivers.by("f1") == ["started", "success", "started", "rollback"]
    message = telling.store.notifications("shop")[0].message
    assert message.startswith("v2 was reversed after ")


def test_a_rollback_by_hand_is_told_as_one(telling: TellingTown) -> None:
    telling.deploy("v1")
    telling.deploy("v2")
    telling.rollback()
    assert [row.split()[0] for row in states(telling.store, "f1")[-2:]] == ["started", "rollback"]


def test_a_failure_is_told_with_its_reason_and_without_secrets(telling: TellingTown) -> None:
    telling.database.fault = "cannot connect to postgresql://u:hunter2secret@db/shop"
    telling.prober.answer = lambda port, path: Answer(200)
    telling.deploy("v1")
    newest = telling.store.notifications("shop")[0]
    assert newest.status == "failed" and "cannot connect" in newest.message
    assert "hunter2secret" not in str(telling.store.notifications("shop"))


def test_a_hung_receiver_delays_no_deployment_and_no_other_receiver(telling: TellingTown) -> None:
    receivers = FakeReceivers(hung={"f1"})
    with sending(telling.store, receivers) as sender:
        began = time.monotonic()
        assert telling.deploy("v1").state is DeploymentState.SUCCEEDED
        took_s = time.monotonic() - began
        sender.wake()
        until(lambda: receivers.by("f2") == receivers.by("") == ["started", "success"])
        assert receivers.by("f1") == []
        receivers.hung.clear()
    assert took_s < 3
    assert receivers.by("f1") == ["started", "success"]


def test_an_outbox_that_cannot_be_written_to_ends_no_sender(
    telling: TellingTown, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    telling.deploy("v1")
    receivers, claim = FakeReceivers(), telling.store.claim_notification
    broken = [True]

    def moody(*args: object, **more: object) -> Notification | None:
        if broken[0]:
            raise StoreError("the disk is full")
        return claim(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(telling.store, "claim_notification", moody)
    with sending(telling.store, receivers):
        until(lambda: "notifications: the disk is full" in capfd.readouterr().err)
        broken[0] = False
    assert receivers.by("f1") == ["started", "success"]


def test_a_receiver_that_comes_back_gets_it_once(store: SqlStore, quick: None) -> None:
    receivers = FakeReceivers(failing={"f1": 2})
    store.notify("shop", "dev", "success", "all", "hello", [SLACK])
    with sending(store, receivers):
        until(lambda: receivers.by("f1"))
    assert receivers.by("f1") == ["success"]
    assert states(store, "f1") == ["success sent 3"]


def test_finishing_waits_for_retries_that_are_near(store: SqlStore, quick: None) -> None:
    receivers = FakeReceivers(failing={"f1": 3})
    store.notify("shop", "dev", "success", "all", "hello", [SLACK])
    with sending(store, receivers):
        pass
    assert states(store, "f1") == ["success sent 4"]


def test_finishing_does_not_wait_for_retries_that_are_far(store: SqlStore) -> None:
    receivers = FakeReceivers(failing={"f1": 9})
    store.notify("shop", "dev", "success", "all", "hello", [SLACK])
    sender = Sender(store, "shop", lambda: receivers)
    sender.start()
    began = time.monotonic()
    sender.finish(2)
    assert time.monotonic() - began < 5
    assert states(store, "f1") == ["success pending 1"]
    assert receivers.by("") == ["success"]


def test_what_is_left_is_sent_by_the_next_sender(store: SqlStore, quick: None) -> None:
    store.notify("shop", "dev", "success", "all", "hello", [SLACK])
    with sending(store, FakeReceivers(targets=("",))):
        """The address of f1 is not known here, as when its variable is not set."""
    assert states(store, "f1") == ["success pending 0"]
    receivers = FakeReceivers()
    with sending(store, receivers):
        pass
    assert receivers.taken == [("f1", "success")]


def test_two_senders_tell_nothing_twice(store: SqlStore) -> None:
    for number in range(30):
        store.notify("shop", "dev", "success", "all", str(number), [SLACK])
    receivers = FakeReceivers()
    with sending(store, receivers), sending(store, receivers):
        pass
    assert len(receivers.taken) == 60
    assert set(states(store, "f1")) == {"success sent 1"}


def test_at_once_means_our_own_first_then_what_waited(store: SqlStore) -> None:
    receivers = FakeReceivers()
    store.notify("shop", "dev", "started", "all", "earlier", [SLACK])
    ids = store.notify("shop", "dev", "success", "all", "ours", [SLACK])
    send_now(store, receivers, "shop", 5, {"": ids[0], "f1": ids[1]})
    assert receivers.by("f1") == ["success", "started"]


def test_at_once_leaves_a_failing_receiver_alone_after_one_try(store: SqlStore) -> None:
    receivers = FakeReceivers(failing={"f1": 99})
    for _ in range(5):
        ids = store.notify("shop", "dev", "success", "all", "x", [SLACK])
    send_now(store, receivers, "shop", 5, {"f1": ids[1]})
    assert states(store, "f1") == [*["success pending 0"] * 4, "success pending 1"]


def test_at_once_comes_back_in_time(store: SqlStore) -> None:
    receivers = FakeReceivers(hung={"f1"})
    store.notify("shop", "dev", "success", "all", "x", [SLACK])
    began = time.monotonic()
    send_now(store, receivers, "shop", 0.3)
    assert time.monotonic() - began < 5
    receivers.released.set()
    until(lambda: states(store, "f1") == ["success pending 1"])
