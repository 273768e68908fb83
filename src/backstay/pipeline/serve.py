"""What must be looked after all the time: schedules, received WAL, objectives, and deployments whose worker died.

`round` is one look at everything; `backstay serve` calls it over and over. Whatever takes longer runs as a command
of its own beside it (duties), or in a thread that looks after one thing (WAL, notifications).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from backstay.domain.alarm import Subject
from backstay.domain.backup import newest_whole
from backstay.domain.drill import DrillKind
from backstay.domain.environment import Environment
from backstay.domain.lease import Claim, Presence, claim
from backstay.domain.objective import is_ahead
from backstay.domain.schedule import (
    Cover,
    Due,
    Duty,
    backup_due,
    base_wanted,
    scheduled_due,
    too_slow_for,
)
from backstay.domain.wal import Chain, Flow
from backstay.errors import BackstayError
from backstay.pipeline import duty as duty_pipeline
from backstay.pipeline import objective as objective_pipeline
from backstay.pipeline.duty import Duties, last_attempt
from backstay.pipeline.left import unfinished
from backstay.pipeline.objective import Look, duties, fault_of, look, overdue, raise_or_clear
from backstay.pipeline.prune import Teller
from backstay.pipeline.wal import OBSERVE_S, Watch
from backstay.ports.calendar import Calendar
from backstay.ports.store import Store

MEASURE_S: Final = 10.0
"""How often the objectives are measured, which reads the disk."""
SWEEP_S: Final = 3600.0
"""How often leftovers of dead commands are looked for."""
SETTLE_S: Final = 15.0
"""How long it may take until a new watch knows what has arrived."""
NO_BASE_S: Final = 3600.0
"""How long a backup that did not become the base that was wanted, or mended no gap, keeps another from being made."""
PATIENCE_S: Final = 8.0
"""How long a command of ours may take to stop safely before it is killed."""


class Ports(duty_pipeline.Ports, objective_pipeline.Ports, Protocol):
    @property
    def store(self) -> Store: ...
    @property
    def calendar(self) -> Calendar: ...


@dataclass
class Keeper:
    """Steps a watch in a thread of its own: a server that hangs holds up nobody else."""

    watch: Watch
    every_s: float = OBSERVE_S
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="wal", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the receiver too: nobody would look after it."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(PATIENCE_S)
        self.watch.stop()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.watch.step()
            self._stopping.wait(self.every_s)


@dataclass
class Served:
    """One environment that is looked after."""

    environment: Environment
    duties: Duties
    folder: Path | None
    since: datetime
    keeper: Keeper | None = None
    next_measure: float = 0.0
    next_sweep: float = 0.0
    seen: Look | None = None
    began: float = 0.0
    mended: tuple[str, float] | None = None
    """The newest base when a gap was last mended by another one, and when, by the monotonic clock."""
    no_watch: str | None = None
    """Why WAL is not received although it should be."""


@dataclass
class Serve:
    """Everything that is looked after. `watch_of` makes the watch of an environment, None where WAL is not received;
    `folder_of` says where it lies."""

    ports: Ports
    tell: Teller
    watch_of: Callable[[Environment], Watch | None]
    folder_of: Callable[[Environment], Path | None]
    _served: dict[str, Served] = field(default_factory=dict)

    def configure(self, environments: Mapping[str, Environment]) -> None:
        """Look after these from now on, with these settings. What did not change is left as it is."""
        for name in [
            name for name in self._served if environments.get(name) != self._served[name].environment
        ]:
            self._let_go(self._served.pop(name), is_changed=name in environments)
        for name, environment in environments.items():
            if name not in self._served:
                self._served[name] = self._take_up(environment)

    def round(self) -> None:
        """One look at everything. An environment that fails to be looked at holds up no other."""
        for served in self._served.values():
            try:
                self._look_after(served)
            except BackstayError as error:
                self.tell("round_failed", f"{served.environment.name}: {error.message}")

    def finish(self) -> None:
        """Stop all that was started, safely, within seconds."""
        for served in self._served.values():
            self._let_go(served, is_changed=False)
        self._served.clear()

    def _take_up(self, environment: Environment) -> Served:
        since = self.ports.store.watch(environment.app, environment.name)
        duties, folder = Duties(self.ports, environment, self.tell), self.folder_of(environment)
        served = Served(environment, duties, folder, since, began=self.ports.clock.monotonic())
        served.duties.adopt()
        try:
            watch = self.watch_of(environment)
        except BackstayError as error:
            served.no_watch = f"WAL cannot be received: {error.message}"
            self.tell("wal_down", f"{environment.name}: {served.no_watch}")
            return served
        if watch is not None:
            served.keeper = Keeper(watch)
            served.keeper.start()
        return served

    def _let_go(self, served: Served, *, is_changed: bool) -> None:
        """Of an environment whose settings changed the commands go on; they are adopted."""
        if served.keeper is not None:
            served.keeper.stop()
        if not is_changed:
            served.duties.finish(PATIENCE_S)

    def _look_after(self, served: Served) -> None:
        ended = served.duties.settle()
        now = self.ports.clock.monotonic()
        if now >= served.next_measure or ended:
            served.next_measure = now + MEASURE_S
            self._measure(served, backed_up=Duty.BACKUP in ended)
        self._recover(served)
        if served.environment.database is not None and served.seen is not None:
            self._back_up(served, served.seen)
            self._drill(served)

    def _measure(self, served: Served, *, backed_up: bool) -> None:
        """Look at the objectives, and let alarms stand for what is broken."""
        environment, store = served.environment, self.ports.store
        if environment.database is not None:
            served.seen = seen = look(
                self.ports, environment.app, environment.name, environment.policy.objective, served.folder
            )
            # Where the very first backup has not been tried yet there is nothing to tell; nor while it is not known
            # yet what has arrived since another one looked.
            known = seen.protection.recoverable is not None or served.duties.was_tried(Duty.BACKUP)
            settling = served.keeper is not None and self.ports.clock.monotonic() - served.began < SETTLE_S
            if known and not settling:
                self._alarm(
                    served, Subject.RPO, fault_of(seen.rpo, "RPO"), f"the RPO holds again: {seen.rpo.why}"
                )
            self._alarm(
                served, Subject.RTO, fault_of(seen.rto, "RTO"), f"the RTO holds again: {seen.rto.why}"
            )
            watch = served.keeper.watch if served.keeper else None
            fault = (_wal_fault(watch) or watch.room_fault) if watch is not None else served.no_watch
            self._alarm(served, Subject.WAL, fault, "WAL is being received, and there is room for it")
            if backed_up:
                self._say_if_too_slow(served)
        rows = duties(store, environment.app, environment.name, self.ports.clock.now())
        self._alarm(served, Subject.DUTIES, overdue(rows), "no duty is overdue any more")

    def _alarm(self, served: Served, subject: Subject, fault: str | None, mended: str) -> None:
        environment = served.environment
        told = raise_or_clear(
            self.ports.store, environment.app, environment.name, subject, fault, mended, environment.channels
        )
        if told:
            self.tell("alarm" if fault else "mended", f"{environment.name}: {fault or mended}")

    def _say_if_too_slow(self, served: Served) -> None:
        environment = served.environment
        if served.keeper is not None:
            return
        newest = newest_whole(self.ports.store.backups(environment.app, environment.name))
        slow = too_slow_for(environment.policy.rpo_s, newest.took_s if newest else None)
        if slow is not None:
            self.tell("backup_slow", f"{environment.name}: {slow}; database.continuous could")

    def _back_up(self, served: Served, seen: Look) -> None:
        environment, ports = served.environment, self.ports
        if served.duties.is_running(Duty.BACKUP):
            return
        now, expression = ports.clock.now(), environment.schedule.backup
        newest = seen.chains[0] if seen.chains else None
        receiving = served.keeper is not None and _wal_fault(served.keeper.watch) is None
        cover = Cover(
            moment=now,
            since=served.since,
            slot=ports.calendar.last(expression, now) if expression else None,
            newest=seen.protection.backup,
            rpo_s=environment.policy.rpo_s,
            protected=receiving and newest is not None and newest.gap is None,
            base_wanted=_base_wanted(served, seen, ports.clock.monotonic()),
        )
        due = backup_due(cover)
        if due is not None:
            words = ["backup", "create", environment.name, "--reason", due.why]
            if served.duties.begin(Duty.BACKUP, due, words) and newest is not None and newest.gap:
                served.mended = (newest.base.backup, ports.clock.monotonic())

    def _drill(self, served: Served) -> None:
        environment, ports = served.environment, self.ports
        expression = environment.schedule.restore_drill
        if expression is None or served.duties.is_running(Duty.BACKUP):
            return
        now = ports.clock.now()
        due = scheduled_due(
            ports.calendar.last(expression, now),
            served.since,
            self._last_drill(served),
            now,
        )
        if due is not None:
            served.duties.begin(Duty.RESTORE_DRILL, due, ["drill", "restore", environment.name])

    def _last_drill(self, served: Served) -> datetime | None:
        """When the last one began, whoever started it and however it ended; one that was lost does not count, nor one
        that a wrong clock puts into the future."""
        environment, now = served.environment, self.ports.clock.now()
        drills = self.ports.store.drills(environment.app, environment.name, DrillKind.RESTORE, 1)
        own = last_attempt(served.duties.runs(Duty.RESTORE_DRILL))
        known = [datetime.fromisoformat(drill.began_at) for drill in drills] + ([own] if own else [])
        return max((at for at in known if not is_ahead(at, now)), default=None)

    def _recover(self, served: Served) -> None:
        """Have a deployment whose worker died brought to its end, and leftovers removed from time to time."""
        environment, ports = served.environment, self.ports
        dead = unfinished(ports.store, environment.app, environment.name)
        held = ports.store.lease(environment.app, environment.name)
        presence = ports.host.presence(held.owner) if held is not None else Presence.GONE
        may = claim(held, presence, ports.store.now())
        is_free = may in (Claim.TAKE, Claim.TAKE_OVER)
        due = None
        if dead is not None and may is not Claim.REFUSE:
            due = Due(f"the worker of {dead.id} died", ports.clock.now())
        elif ports.clock.monotonic() >= served.next_sweep and is_free:
            due = Due("looking for leftovers", ports.clock.now())
        if due is not None and served.duties.begin(Duty.RECOVERY, due, ["recover", environment.name]):
            served.next_sweep = ports.clock.monotonic() + SWEEP_S


def _base_wanted(served: Served, seen: Look, now: float) -> str | None:
    """Why a base backup is wanted at once; nothing for a while after a backup that was not one, or mended no gap,
    whatever the cause: one after another would be made."""
    if served.keeper is None or served.environment.continuous is None:
        return None
    position = served.keeper.watch.position
    newest = seen.chains[0] if seen.chains else None
    age_s = seen.protection.exposure_s
    if newest is None and age_s is not None and age_s < NO_BASE_S:
        return None
    return base_wanted(
        has_base=newest is not None,
        gap=newest.gap if newest is not None and _may_mend(served, newest, now) else None,
        wal_bytes=position.lsn - newest.base.start if position is not None and newest is not None else 0,
        limit_bytes=served.environment.continuous.base_after_bytes,
    )


def _may_mend(served: Served, newest: Chain, now: float) -> bool:
    """Whether a new base could mend a gap: while no WAL arrives none can, and where the last one did not, another one
    would not either."""
    if served.keeper is not None and _wal_fault(served.keeper.watch) is not None:
        return False
    before, at = served.mended or ("", 0.0)
    return before in ("", newest.base.backup) or now - at >= NO_BASE_S


def _wal_fault(watch: Watch) -> str | None:
    """What an alarm says about the receiving of WAL; None while it goes well, and before it was looked at."""
    state = watch.state
    if state is None or state.flow is Flow.RECEIVING:
        return None
    why = f": {state.message}" if state.message else ""
    return f"WAL is not received ({state.flow}){why}"
