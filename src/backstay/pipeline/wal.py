"""Look after the receiving of write-ahead log: keep it going, know how far it is, and say so when it is late."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from backstay.domain.duration import format_duration
from backstay.domain.objective import ALARM_SHARE
from backstay.domain.secret import Secret
from backstay.domain.size import format_bytes
from backstay.domain.wal import (
    DEFAULT_SEGMENT_BYTES,
    STALLED_AFTER_S,
    Base,
    Chain,
    Continuous,
    Flow,
    Mark,
    WalState,
    chain,
    segment_name,
)
from backstay.errors import BackstayError
from backstay.pipeline.prune import Teller
from backstay.pipeline.wal_prune import prune
from backstay.ports.clock import Clock
from backstay.ports.store import Reader
from backstay.ports.wal import Receiver, ServerPosition, WalArchive, WalServer

OBSERVE_S: Final = 5.0
"""How often the server is asked where it stands."""
CANARY_S: Final = 60.0
PRUNE_S: Final = 600.0
LOW_SEGMENTS: Final = 64
"""With less room than for so many segments (1 GiB, as they usually are) a person should look."""
ANSWER_S: Final = 10.0
BACKOFF_S: Final = (0.0, 1.0, 5.0, 15.0, 30.0)
"""How long to wait before the receiver is started again, after the first, second … end in a row."""
STEADY_S: Final = 60.0
"""A receiver that ran this long was a good one: its end counts as the first again."""
REMOVED: Final = "has already been removed"
"""What a server says of WAL that it does not have any more."""
_PENDING: Final = 10_000


class ArchivePorts(Protocol):
    """What it takes to see what was received."""

    @property
    def store(self) -> Reader: ...
    @property
    def archive(self) -> WalArchive: ...


class Ports(ArchivePorts, Protocol):
    """What it takes to receive."""

    @property
    def server(self) -> WalServer: ...
    @property
    def receiver(self) -> Receiver: ...
    @property
    def clock(self) -> Clock: ...


@dataclass(frozen=True, slots=True)
class WatchOrder:
    """What to receive, and where to: `url` is of a role that may replicate, `folder` absolute."""

    app: str
    environment: str
    url: Secret
    folder: Path
    continuous: Continuous
    rpo_s: float

    @property
    def slot(self) -> str:
        return slot_name(self.app, self.environment)

    @property
    def late_after_s(self) -> float:
        """People hear of a fault long before the RPO is used up."""
        return min(STALLED_AFTER_S, self.rpo_s * ALARM_SHARE)


def slot_name(app: str, environment: str) -> str:
    """The replication slot of an environment; at most 63 letters, digits and `_`, and no other one's."""
    name = re.sub(r"[^a-z0-9]", "_", f"backstay_{app}_{environment}".lower())
    digest = hashlib.sha256(f"{app} {environment}".encode()).hexdigest()[:8]
    return f"{name[:54]}_{digest}"


def bases(ports: ArchivePorts, app: str, environment: str) -> list[Base]:
    """The base backups of the catalog, newest first."""
    found = (ports.archive.base(backup) for backup in ports.store.backups(app, environment))
    return [base for base in found if base is not None]


def chains(ports: ArchivePorts, app: str, environment: str, folder: Path) -> list[Chain]:
    """How far the received WAL goes from each base backup, newest base first. Only looks."""
    known = bases(ports, app, environment)
    if not known:
        return []
    listing = ports.archive.listing(folder)
    return [chain(base, listing) for base in known]


class _Seen(NamedTuple):
    """What the server said at one moment, by its clock (`mark`) and by ours (`local`)."""

    mark: Mark
    local: datetime


@dataclass
class Watch:
    """One environment's receiving. `step` is called over and over, by one thread, every few seconds."""

    ports: Ports
    order: WatchOrder
    tell: Teller
    state: WalState | None = None
    position: ServerPosition | None = None
    canary_fault: str | None = None
    room_fault: str | None = None
    wal_kept: str | None = None
    _pending: deque[_Seen] = field(default_factory=lambda: deque(maxlen=_PENDING))
    _current: datetime | None = None
    _ends: int = 0
    _start_at: float = 0.0
    _started_at: float = 0.0
    _was_running: bool = False
    _refused: str = ""
    _next_beat: float = 0.0
    _next_prune: float = 0.0
    _advised: bool = False
    _told: Flow | None = None
    _began: float = 0.0

    def __post_init__(self) -> None:
        self._began = self.ports.clock.monotonic()

    def step(self) -> WalState:
        """One round: start the receiver when it does not run, ask the server, note what is known. Raises nothing
        of its own accord: what is wrong is in the state."""
        fault = self._attempt(self._look) or self._attempt(self._receive)
        running = self.ports.receiver.is_running(self.order.folder)
        self._count_ends(running)
        said = "" if running else self._refused or self.ports.receiver.last_words(self.order.folder)
        state = self._state(running, fault or said)
        self._report(state)
        if fault is None:
            self._beat()
            self._prune()
            self._attempt(self._weigh)
        return state

    def stop(self) -> None:
        """End the receiver. The server keeps what is written from now on until somebody receives it."""
        self._attempt(lambda: self.ports.receiver.stop(self.order.folder))

    def _look(self) -> None:
        """Ask the server where it stands, and settle what has arrived by now."""
        order, before = self.order, self.ports.clock.now()
        self.position = now = self.ports.server.position(order.url, order.slot, ANSWER_S)
        self._refuse_other_server(now)
        self._pending.append(_Seen(Mark(now.timeline, now.lsn, now.at), before))
        if now.lost:
            self._leave_gap(now)
        self._settle(now)
        self._advise(now)

    def _settle(self, now: ServerPosition) -> None:
        """Note what has arrived by now, here: whoever else receives by the slot moves its position too."""
        folder, archive = self.order.folder, self.ports.archive
        if now.received is None or not self.ports.receiver.is_running(folder):
            return
        settled = [seen for seen in self._pending if seen.mark.lsn <= now.received]
        latest = max(settled, key=lambda seen: seen.mark.at, default=None)
        if latest is None or not archive.holds(folder, latest.mark.lsn, now.segment_bytes):
            return
        self._current = latest.local
        archive.mark(folder, latest.mark)
        self._keep(caught_up=latest.mark)
        for seen in settled:
            self._pending.remove(seen)

    def _receive(self) -> None:
        """Start the receiver when it does not run and its time to wait is over."""
        order, now = self.order, self.ports.clock.monotonic()
        if self.position is None or self.ports.receiver.is_running(order.folder) or now < self._start_at:
            return
        self._started_at, self._was_running = now, True
        if not self._refused and REMOVED in self.ports.receiver.last_words(order.folder):
            self._leave_gap(self.position)
        start = partial(self.ports.receiver.start, order.url, order.slot, order.folder, self.position.major)
        self._refused = self._attempt(start) or ""

    def _count_ends(self, running: bool) -> None:
        """Wait longer before each further start of a receiver that does not stay."""
        if running or not self._was_running:
            return
        now = self.ports.clock.monotonic()
        self._was_running = False
        self._ends = 1 if now - self._started_at > STEADY_S else self._ends + 1
        self._start_at = now + BACKOFF_S[min(self._ends, len(BACKOFF_S)) - 1]

    def _refuse_other_server(self, now: ServerPosition) -> None:
        """WAL of two servers has the same names: what was received from another one is moved aside, whole."""
        order, archive = self.order, self.ports.archive
        archive.make(order.folder)
        noted = self.state or archive.state(order.folder)
        if noted is not None and noted.system_identifier != now.system_identifier:
            self.ports.receiver.stop(order.folder)
            aside = archive.set_aside(order.folder, noted.system_identifier)
            self.tell(
                "wal_set_aside", f"another server answers now; the WAL of the old one is kept in {aside}"
            )
            self._pending.clear()
            noted = None
        seen = self.ports.clock.now()
        fresh = WalState(seen, Flow.DOWN, seen, now.system_identifier, now.major, now.segment_bytes)
        self.state = noted or fresh
        self._keep(major=now.major, segment_bytes=now.segment_bytes)

    def _leave_gap(self, now: ServerPosition) -> None:
        """The server threw WAL away that was not received yet: go on where it is now. What was received stays."""
        order, size = self.order, now.segment_bytes
        name = segment_name(now.timeline, now.lsn // size, size)
        self.ports.receiver.stop(order.folder)
        self.ports.archive.begin_at(order.folder, name)
        if now.lost:  # only now: who dies before this finds it still lost, and comes here again
            self.ports.server.drop_slot(order.url, order.slot, ANSWER_S)
        self._pending.clear()
        self.tell("wal_gap", f"the server threw away WAL that was not received yet; {name} is the next")

    def _state(self, running: bool, fault: str) -> WalState:
        """What is known now, noted for others to see."""
        now = self.ports.clock.now()
        noted = self.state or WalState(now, Flow.DOWN, now, "", 0, 0)
        behind_s = self.behind_s
        if behind_s is None:  # nothing is known yet: then only what receives may be given time
            behind_s = self.ports.clock.monotonic() - self._began if running else float("inf")
        late = behind_s > self.order.late_after_s
        flow = (Flow.LATE if running else Flow.DOWN) if late else Flow.RECEIVING
        since = noted.since if noted.flow is flow else now
        self.state = replace(noted, seen=now, flow=flow, since=since, message=fault)
        if self.state.system_identifier:
            self._attempt(lambda: self.ports.archive.note(self.order.folder, self.state or noted))
        return self.state

    @property
    def behind_s(self) -> float | None:
        """How old the newest moment is up to which everything has arrived, by our clock; None when none has."""
        if self._current is None:
            return None
        return max(0.0, (self.ports.clock.now() - self._current).total_seconds())

    def _report(self, state: WalState) -> None:
        if state.flow is self._told:
            return
        self._told = state.flow
        behind = "" if self.behind_s is None else f" for {format_duration(self.behind_s)}"
        why = f": {state.message}" if state.message else ""
        told = {
            Flow.RECEIVING: "WAL is being received",
            Flow.LATE: f"WAL has not arrived{behind}{why}",
            Flow.DOWN: f"WAL is not being received{behind}{why}",
        }
        self.tell(f"wal_{state.flow}", told[state.flow])

    def _advise(self, now: ServerPosition) -> None:
        if now.keep_bytes is not None or self._advised:
            return
        self._advised = True
        self.tell(
            "wal_advised",
            "max_slot_wal_keep_size has no limit: while nobody receives, the server keeps all WAL until its own disk is"
            " full; set it to what that disk can spare",
        )

    def _beat(self) -> None:
        """Write the canary row, where it is wanted and the role may. That it may not is told once."""
        now = self.ports.clock.monotonic()
        if not self.order.continuous.canary or now < self._next_beat:
            return
        self._next_beat = now + CANARY_S
        fault = self._attempt(lambda: self.ports.server.beat(self.order.url, ANSWER_S))
        if fault is not None and fault != self.canary_fault:
            self.tell("canary_silent", f"no canary row is written: {fault}")
        self.canary_fault = fault

    def _weigh(self) -> None:
        """Whether the disk has room for what arrives before anybody comes."""
        free = self.ports.archive.free(self.order.folder)
        segment = self.state.segment_bytes if self.state is not None else 0
        is_low = free < LOW_SEGMENTS * (segment or DEFAULT_SEGMENT_BYTES)
        self.room_fault = f"only {format_bytes(free)} are free in {self.order.folder}" if is_low else None

    def _prune(self) -> None:
        """Remove what nobody needs, from time to time. What keeps the rest is told once."""
        now, order = self.ports.clock.monotonic(), self.order
        if now < self._next_prune:
            return
        self._next_prune = now + PRUNE_S
        try:
            kept = prune(self.ports, order.app, order.environment, order.folder, self.tell)
        except BackstayError as error:
            kept = f"no WAL is removed: {error.message}"
        if kept is not None and kept != self.wal_kept:
            self.tell("wal_kept", kept)
        self.wal_kept = kept

    def _keep(self, **changes: object) -> None:
        if self.state is not None:
            self.state = replace(self.state, **changes)  # type: ignore[arg-type]

    def _attempt(self, act: Callable[[], object]) -> str | None:
        try:
            act()
        except BackstayError as error:
            return error.message
        return None
