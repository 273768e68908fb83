"""Sending what the outbox holds, beside everything else: it delays nothing and fails nothing."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from uuid import uuid4

from backstay.domain.notification import Notification, SendState, retry_after_s
from backstay.errors import BackstayError
from backstay.ports.receivers import Receivers
from backstay.ports.store import Store

LINGER_S = 60.0
"""How long a worker that is done goes on trying: long enough for two retries."""

CLOCK_SLACK_S = 0.05
"""The store counts on the wall clock and we on another: come a little late rather than too early."""


def send_one(
    store: Store, receivers: Receivers, app: str, target: str, only: int | None = None
) -> Notification | None:
    """Claim one notification for `target`, try once to deliver it, and record how that ended; None when nothing is
    due. A sender that dies between the receiver's answer and the record is the one case of a message told twice."""
    by = uuid4().hex
    claimed = store.claim_notification(app, (target,), by, only)
    if claimed is None:
        return None
    return store.settle_notification(claimed.id, by, receivers.deliver(claimed)) or claimed


def send_now(
    store: Store, receivers: Receivers, app: str, within_s: float, first: Mapping[str, int] | None = None
) -> None:
    """Send what is due, to all receivers at once, for at most `within_s`; a receiver that fails is left alone then.

    `first` has rows, by their target, that go before what else waits for the same receiver.
    """
    own = first or {}

    def serve(target: str) -> None:
        try:
            tried = send_one(store, receivers, app, target, own.get(target))
            while tried is not None and tried.state is SendState.SENT:
                tried = send_one(store, receivers, app, target)
        except BackstayError as error:
            print(f"notifications: {error.message}", file=sys.stderr, flush=True)

    threads = [threading.Thread(target=serve, args=(t,), daemon=True) for t in receivers.targets]
    end = time.monotonic() + within_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))


@dataclass
class Sender:
    """Sends in threads of its own, one per receiver, so that a dead one holds up no other.

    `receivers` is asked in a thread too: it may have to wait for the addresses.
    """

    store: Store
    app: str
    receivers: Callable[[], Receivers]
    stopping: threading.Event = field(default_factory=threading.Event)
    _wakes: list[threading.Event] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _known: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin to send. The threads end with the process."""
        threading.Thread(target=self._open, daemon=True).start()

    def wake(self) -> None:
        """Look at the outbox now: something was put into it."""
        for wake in self._wakes:
            wake.set()

    def finish(self, linger_s: float = LINGER_S) -> None:
        """Go on for a while with what is still to be sent; what is left then waits for the next command."""
        end = time.monotonic() + linger_s
        self._known.wait(linger_s)
        self.stopping.set()
        self.wake()
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _open(self) -> None:
        try:
            receivers = self.receivers()
            for target in receivers.targets:
                wake = threading.Event()
                thread = threading.Thread(target=self._serve, args=(receivers, target, wake), daemon=True)
                self._wakes.append(wake)
                self._threads.append(thread)
                thread.start()
        finally:
            self._known.set()

    def _serve(self, receivers: Receivers, target: str, wake: threading.Event) -> None:
        due: dict[int, float] = {}
        while True:
            wake.clear()
            stopping = self.stopping.is_set()
            self._drain(receivers, target, due)
            if stopping and not due:
                return
            wake.wait(max(0.0, min(due.values()) - time.monotonic()) if due else None)

    def _drain(self, receivers: Receivers, target: str, due: dict[int, float]) -> None:
        """Send what is due; note in `due` when to come back for what failed, if that is worth waiting for."""
        try:
            while (tried := send_one(self.store, receivers, self.app, target)) is not None:
                due.pop(tried.id, None)
                wait_s = retry_after_s(tried.attempts) if tried.state is SendState.PENDING else None
                if wait_s is not None and wait_s <= LINGER_S:
                    due[tried.id] = time.monotonic() + wait_s + CLOCK_SLACK_S
        except BackstayError as error:
            print(f"notifications: {error.message}", file=sys.stderr, flush=True)
            due.clear()
            return
        late = time.monotonic()
        for id_ in [id_ for id_, at in due.items() if at <= late]:
            del due[id_]  # another sender has it
