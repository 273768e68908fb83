"""A whole environment over doubles and the real store, which can be stopped at any moment, kept, and put back.

A death is not acted out: at each moment of a command the whole world outside its process is copied, exactly as a
kill -9 would leave it. Nothing of the process is kept, so nothing of it can help.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from backstay.adapters.store import open_store
from backstay.domain.deployment import Deployment
from backstay.domain.environment import Environment
from backstay.domain.lease import Lease, Owner, Presence
from backstay.domain.plan import Plan, Restoration
from backstay.domain.recovery import PROOFS
from backstay.domain.secret import Secret
from backstay.domain.slot import Slot, Slots
from backstay.domain.step import StepState
from backstay.pipeline.begin import Beginner
from backstay.pipeline.maintain import maintain
from backstay.pipeline.record import as_record, from_record
from backstay.pipeline.resolve import plan_deploy, plan_restore, plan_rollback
from backstay.pipeline.run import Run, World
from backstay.pipeline.standby import gone
from backstay.ports.store import Store
from backstay.testing import FakeClock, FakeClusters, FakeHost, Moments
from backstay.testing.moments import WRITES
from backstay.worker import perform
from tests.pipeline.conftest import Town

APP, ENV = "shop", "dev"
Key = tuple[Any, ...]


@dataclass(frozen=True)
class Moment:
    """A moment, and the world as it was then. Worlds with equal keys are one to whoever comes later."""

    what: str
    key: Key
    disk: bytes
    doubles: dict[str, dict[str, Any]]


class OneProcess(FakeHost):
    """A machine on which one process of ours runs at a time: an earlier one is dead."""

    def __init__(self) -> None:
        super().__init__()
        self.pid = 1

    def owner(self) -> Owner:
        return Owner("ann", "here", self.pid, self.pid, "boot")

    def presence(self, owner: Owner) -> Presence:
        return Presence.ALIVE if owner.pid == self.pid else Presence.GONE


class Mortal:
    """The environment `dev` of the shop, and the commands on it. `seen` counts the moments of the last `dying`."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.store: Store = open_store(folder / "state.db", clock=self.clock)
        self.town = Town(self.store, folder, self.clock, host=OneProcess())
        self._disk = sqlite3.connect(folder / "state.db", check_same_thread=False)
        self._at: Callable[[str], None] = lambda what: None
        moments = Moments(lambda what: self._at(what))
        self.world: World = replace(
            self.town.world,
            store=moments.of(self.store, "store", WRITES),
            **{
                name: moments.of(getattr(self.town, name), name)
                for name in ("engine", "router", "database", "prober", "scratches")
            },
            clusters=_WatchedClusters(self.town.clusters, moments),
        )
        self.rows_of: dict[str, int] = {}
        self.was = 0
        self.number = 0
        self.is_new = True
        self._cached: tuple[Key, Key, Key] = ((), (), ())

    def close(self) -> None:
        self._disk.close()
        self.store.close()

    # ---- commands, each as a process of its own

    def deploy(self, version: str, *only: str, force: bool = False, maintenance: bool = False) -> Deployment:
        """`backstay deploy`, client and worker in one process."""

        def plan() -> Plan:
            digest = lambda image, tag: self.town.engine.digest(image, tag, None)  # noqa: E731
            made = plan_deploy(self.town.application, version, only, force, self.store, digest)
            return replace(made, maintenance=maintenance)

        return self._command(plan)

    def rollback(self, component: str = "all", to: str | None = None, *, force: bool = False) -> Deployment:
        """`backstay rollback`."""
        gone_of = partial(gone, self.town.prober, lambda: self.town.engine)
        return self._command(lambda: plan_rollback(APP, ENV, component, to, force, self.store, gone_of))

    def restore(self, backup: str, accept_loss: int) -> Deployment:
        """`backstay backup restore`."""
        wanted = Restoration(backup, accept_loss)
        return self._command(lambda: plan_restore(APP, ENV, wanted, None, self.store))

    def recover(self) -> None:
        """`backstay recover`."""
        self._restart()
        self._beginner().recover(APP, ENV, lambda dead: None)
        maintain(self._beginner(), APP, ENV, lambda environment: self.world)

    def _command(self, plan: Callable[[], Plan]) -> Deployment:
        self._restart()
        starting = self._beginner()
        starting.recover(APP, ENV, lambda dead: None)
        made = plan()
        self.number += 1
        id_ = f"d{self.number}"
        starting.start(id_, made, self.town.environment, as_record(made, "nonce", "backstay.yml", {}))
        ended = self.store.deployment(id_)
        assert ended is not None
        return ended

    def _restart(self) -> None:
        assert isinstance(self.town.host, OneProcess)
        self.town.host.pid += 1
        self.town.scratches.dead |= set(self.town.scratches.left)

    def _beginner(self) -> Beginner:
        return Beginner(self.world.store, self.town.host, self.clock, self._work)

    def _work(self, lease: Lease, deployment: str) -> None:
        """The worker."""
        store = self.world.store
        lease = store.adopt(lease, self.town.host.owner())
        found, environment = store.deployment(deployment), store.environment_of(deployment)
        assert found is not None and isinstance(environment, Environment)
        plan, nonce = from_record(found, store)
        try:
            perform(Run(found, plan, environment, lease.token, nonce, self.world), lease)
        finally:
            store.release_lease(lease)

    # ---- death

    @contextmanager
    def dying(self, known: set[Key], since: str | None = None) -> Iterator[list[Moment]]:
        """Every moment of what is done inside whose world is not `known` yet; with `since`, from that step on.
        `self.seen` counts all of them."""
        found: list[Moment] = []
        self.seen = 0

        def at(what: str) -> None:
            self.seen += 1
            key = self.key()
            if key not in known and (since is None or self._has_come_to(since)):
                known.add(key)
                found.append(self.keep(what, key))

        self._at = at
        try:
            yield found
        finally:
            self._at = lambda what: None

    def _has_come_to(self, step: str) -> bool:
        journal = self._cached[2][1]
        return bool(journal) and any(row[:2] == (f"d{self.number}", step) for row in journal)

    def keep(self, what: str, key: Key) -> Moment:
        """The world as it is now."""
        doubles = {name: _copy(getattr(self.town, name).__dict__) for name in _KEPT}
        doubles["self"] = {"number": self.number}
        return Moment(what, key, self._disk.serialize(), doubles)

    def back(self, moment: Moment) -> None:
        """Put the world back as it was then."""
        with closing(sqlite3.connect(":memory:")) as copy:
            copy.deserialize(moment.disk[:18] + _NO_WAL + moment.disk[20:])
            copy.backup(self._disk)
        self._cached = ((), (), ())
        for name in _KEPT:
            getattr(self.town, name).__dict__.update(_copy(moment.doubles[name]))
        self.number = moment.doubles["self"]["number"]

    # ---- looking

    @property
    def slots(self) -> Slots:
        return self.store.slots(APP, ENV)

    def last(self) -> Deployment | None:
        return next(reversed(self.store.history(APP, ENV)), None)

    def key(self) -> Key:
        """All that whoever comes later can see and decide from; not the times, and not what is only told to people."""
        lease, recorded = self._recorded()
        router, engine = self.town.router, self.town.engine
        return (
            *recorded,
            tuple(sorted((c.name, c.running, c.exit_code) for c in engine.containers.values())),
            (router.running, router.live, router.filed, bool(lease) and router.token == lease[0][0]),
            tuple(sorted(map(str, router.binds))),
            tuple(sorted((slot, _ports(router.loaded[slot])) for slot in router.loaded)),
            tuple(sorted(str(path) for path in self.town.database.files)),
            tuple(engine.made_networks),
            tuple(self.town.scratches.left),
            (router.held, tuple(sorted(self.town.clusters.marks)), self.rows),
        )

    @property
    def rows(self) -> int:
        """What is in the live database."""
        return self.town.database.content(URL, 1).rows

    def _recorded(self) -> tuple[Key, Key]:
        """What is in the store, read anew only after a change: the lease, and all that decides."""
        version = self._ask("PRAGMA data_version")
        if self._cached[0] != version:
            lease = self._ask("SELECT token, owner IS NULL, deployment FROM leases")
            recorded = (
                self._ask("SELECT id, state, wish, exit_status, automatic FROM deployments ORDER BY number"),
                self._ask(
                    "SELECT deployment, name, state, length(result) > 2, error IS NULL FROM steps ORDER BY 1, 2"
                ),
                self._ask("SELECT count(*) FROM events WHERE kind = 'recovery_started'"),
                self._ask("SELECT count(*) FROM backups"),
                tuple(
                    re.sub(r'"since":"[^"]*"', "", row[0]) for row in self._ask("SELECT content FROM slots")
                ),
                tuple(row[1:] for row in lease),
            )
            self._cached = version, lease, recorded
        return self._cached[1:]

    def _ask(self, query: str) -> Key:
        return tuple(self._disk.execute(query).fetchall())

    def faults(self) -> list[str]:
        """What is not as it must be at every moment, whoever died before: somebody serves, whole and of one release."""
        router, engine, slots = self.town.router, self.town.engine, self.slots
        if not router.running or router.live is None or slots.live is None:
            return []
        if router.held is not None:
            return []  # nobody is served
        found = self._unserved()
        serving = slots.mappings.get(router.live)
        if serving is not None and self.rows_of.get(serving.version, self.rows) != self.rows:
            found.append(f"{serving.version} serves on a database that is not its own")
        ports = {c.port: c for c in engine.containers.values() if c.running}
        upstreams = router.loaded[router.live].upstreams if router.live in router.loaded else None
        if not upstreams:
            # A first deploy that is taken back leads to the empty slot: nothing served before it.
            return [] if self.is_new else [f"the router leads to {router.live}, where nothing stands"]
        found += [
            f"{name} of the slot with the traffic does not run"
            for name, u in upstreams.items()
            if u.port not in ports
        ]
        mapping = slots.mappings.get(router.live)
        placed = {p.port for p in mapping.placements.values()} if mapping else set()
        if placed != {u.port for u in upstreams.values()}:
            found.append(f"{router.live} is a mix: the router leads to other containers than the records say")
        return found

    def _unserved(self) -> list[str]:
        """The address at which people were served by a release that was proven, when nobody listens there."""
        for deployment in reversed(self.store.history(APP, ENV)):
            journal, settings = self.store.steps(deployment.id), self.store.environment_of(deployment.id)
            proven = any(r.name == PROOFS[deployment.kind] and r.state is StepState.DONE for r in journal)
            if proven and settings is not None:
                served = settings.bind in self.town.router.binds
                return [] if served else [f"nobody listens on {settings.bind}"]
        return []

    def migrations(self) -> Counter[str]:
        """How often each migration of each deployment was started."""
        return Counter(name for name in self.town.engine.ran if name.endswith("-migrate"))


_NO_WAL = b"\x01\x01"
"""Bytes 18 and 19 of an SQLite file: a copy in memory can have no write-ahead log."""

_KEPT = ("engine", "router", "database", "scratches", "clusters")

URL = Secret("postgresql://u:hunter2secret@db/shop")


class _WatchedClusters:
    """Servers whose every act is surrounded by moments."""

    def __init__(self, clusters: FakeClusters, moments: Moments) -> None:
        moments.of(clusters, "clusters")
        self._clusters, self._moments = clusters, moments

    def at(self, admin: Secret, deployment: str) -> Any:
        return self._moments.of(self._clusters.at(admin, deployment), "cluster")


def _copy(values: dict[str, Any]) -> dict[str, Any]:
    """A double's state: containers of values that never change themselves."""
    return {
        name: value.copy() if isinstance(value, dict | list | set) else value
        for name, value in values.items()
    }


def _ports(routes: Any) -> Key:
    return tuple(sorted((name, upstream.port) for name, upstream in (routes.upstreams or {}).items()))


__all__ = ["APP", "ENV", "Key", "Moment", "Mortal", "Slot"]
