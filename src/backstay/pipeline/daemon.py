"""`backstay serve` as a process: one per application, which goes on until it is asked to end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

from backstay.domain.alarm import Subject
from backstay.domain.environment import Environment
from backstay.domain.lease import HEARTBEAT_S, Lease
from backstay.errors import BackstayError, ConfigError, LeaseLost, Locked, StoreError
from backstay.pipeline.begin import Beginner
from backstay.pipeline.notify import Sender
from backstay.pipeline.prune import Teller
from backstay.pipeline.serve import Serve
from backstay.pipeline.times import rfc3339
from backstay.ports.clock import Clock
from backstay.ports.host import Host
from backstay.ports.manager import Manager
from backstay.ports.receivers import Receivers
from backstay.ports.store import Store

TICK_S: Final = 1.0
SEND_S: Final = 5.0
"""How often the outbox is looked at for what others left in it."""

NAME: Final = "@serve"
"""Stands for the environment in the lease of a serve; no environment can have this name."""

LASTS_S: Final = 60.0
"""A serve of another host is believed for this long after its last sign of life."""


class Ports(Protocol):
    @property
    def store(self) -> Store: ...
    @property
    def host(self) -> Host: ...
    @property
    def clock(self) -> Clock: ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """The configuration as it is now. `receivers` opens those of all environments; `stamp` changes with the file."""

    environments: Mapping[str, Environment]
    receivers: Callable[[], Receivers]
    stamp: object


@contextmanager
def single(ports: Ports, app: str, tell: Teller) -> Iterator[threading.Event]:
    """Be the only one that serves `app`, on this host and any that shares the store; gives an event that is set
    when that is lost. Raises Locked when another one does. A dead one is replaced at once."""

    def say(text: str) -> None:
        tell("waiting", text)

    beginner = Beginner(ports.store, ports.host, ports.clock, _nobody, say)
    try:
        held = beginner.claimed(app, NAME)
        lease = ports.store.take_lease(
            app, NAME, ports.host.owner(), "serve", None, replaces=held, lasts_s=LASTS_S
        )
    except Locked as error:
        raise _refused(ports.store.lease(app, NAME), app) from error
    lost = threading.Event()
    heart = threading.Thread(target=_beat, args=(ports.store, lease, lost, tell), daemon=True)
    heart.start()
    try:
        yield lost
    finally:
        lost.set()
        heart.join()
        ports.store.release_lease(lease)


@dataclass
class Daemon:
    """Rounds of `serve`, with the configuration read again when it changes, and notifications sent.

    `load` raises ConfigError for a file that has a fault; then what was read before stays in force. `stamp` tells
    whether the file has changed, without reading it.
    """

    ports: Ports
    app: str
    serve: Serve
    load: Callable[[], Loaded]
    stamp: Callable[[], object]
    manager: Manager
    tell: Teller
    stopping: threading.Event = field(default_factory=threading.Event)
    reload: threading.Event = field(default_factory=threading.Event)
    _loaded: Loaded | None = None
    _tried: object = None
    _sender: Sender | None = None
    _next_send: float = 0.0

    def run(self) -> None:
        """Until `stopping` is set, then end all that was begun, within seconds. Raises ConfigError for a file that
        is wrong from the beginning, Locked when another one serves, LeaseLost when one took over."""
        with single(self.ports, self.app, self.tell) as lost:
            try:
                self._take(self.load())
                self.manager.ready(self._status)
                self.tell("serving", f"looking after {self._status}")
                while not self.stopping.wait(TICK_S):
                    if lost.is_set():
                        raise LeaseLost(f"another backstay serve took {self.app} over")
                    self._look_at_the_file()
                    self.serve.round()
                    self._send()
                    self.manager.alive(self._status)
                self.tell("stopping", "asked to end")
                self.manager.stopping()
            finally:
                self.serve.finish()
                if self._sender is not None:
                    self._sender.finish(linger_s=1.0)

    @property
    def _status(self) -> str:
        names = ", ".join(self._loaded.environments) if self._loaded else "nothing"
        return f"{self.app}: {names}"

    def _look_at_the_file(self) -> None:
        """Take a changed file over; one that is wrong is an alarm, and changes nothing."""
        asked = self.reload.is_set()
        self.reload.clear()
        stamp = self.stamp()
        if self._loaded is None or (stamp == self._tried and not asked):
            return
        self._tried = stamp
        known = self._loaded
        try:
            loaded = self.load()
        except (ConfigError, OSError) as error:
            message = f"backstay.yml is wrong, the settings of before stay in force: {error}"
            self.tell("config_refused", message)
            for name, environment in known.environments.items():
                self.ports.store.raise_alarm(self.app, name, Subject.CONFIG, message, environment.channels)
            return
        self._take(loaded)
        self.tell("config_read", f"backstay.yml was read again: looking after {self._status}")

    def _take(self, loaded: Loaded) -> None:
        self._loaded, self._tried = loaded, loaded.stamp
        self.serve.configure(loaded.environments)
        for name, environment in loaded.environments.items():
            mended = "backstay.yml is right again"
            self.ports.store.clear_alarm(self.app, name, Subject.CONFIG, mended, environment.channels)
        if self._sender is not None:
            self._sender.finish(linger_s=0.0)
        self._sender = Sender(self.ports.store, self.app, loaded.receivers)
        self._sender.start()

    def _send(self) -> None:
        now = self.ports.clock.monotonic()
        if self._sender is not None and now >= self._next_send:
            self._next_send = now + SEND_S
            self._sender.wake()


def _beat(store: Store, lease: Lease, lost: threading.Event, tell: Teller) -> None:
    """Keep the lease alive. A store that cannot be reached is tried again."""
    while not lost.wait(HEARTBEAT_S):
        try:
            store.heartbeat(lease)
        except LeaseLost as error:
            tell("lease_lost", error.message)
            lost.set()
        except StoreError as error:
            tell("heartbeat_failed", error.message)


def _refused(held: Lease | None, app: str) -> Locked:
    if held is None:
        return Locked(f"another backstay serve began to look after {app} just now", hint="try again")
    since = rfc3339(datetime.fromtimestamp(held.acquired_at, UTC))
    return Locked(
        f"backstay serve looks after {app} already: {held.owner}, since {since}",
        hint=f"end that one first: kill {held.owner.pid} on {held.owner.host}",
        state="nothing was changed",
    )


def _nobody(lease: Lease, deployment: str) -> None:
    raise BackstayError("a serve starts no worker")
