"""Scratch servers in memory: databases are names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from backstay.domain.rehearsal import Trace
from backstay.domain.secret import Secret
from backstay.domain.tables import Tables
from backstay.errors import DatabaseError
from backstay.ports.scratch import ScratchOrder


class FakeScratchServer:
    """Remembers its databases and roles."""

    notes: tuple[str, ...] = ()

    def __init__(self, scratches: FakeScratches, order: ScratchOrder) -> None:
        self.scratches = scratches
        self.order = order
        self.major = order.major
        self.ours = not scratches.given
        self.databases: dict[str, str | None] = {}
        self.roles: list[str] = []
        self.closed = False
        self.went_back = False
        self.cut: list[str] = []

    def url(self, database: str = "", role: str | None = None) -> Secret:
        return Secret(f"postgresql://{role or 'backstay_scratch'}:scratchword@127.0.0.1:5999/{database}")

    def url_for_containers(self, database: str, role: str | None = None) -> Secret:
        return Secret(f"postgresql://{role or 'backstay_scratch'}:scratchword@172.30.0.1:5999/{database}")

    def create(
        self, database: str, template: str | None = None, like: Mapping[str, str] | None = None
    ) -> None:
        if database in self.databases:
            raise DatabaseError(f"database {database} exists")
        self.databases[database] = template
        self.scratches.made(self.url(database).reveal())

    def drop(self, database: str) -> None:
        self.databases.pop(database, None)

    def adopt_role(self, role: str, database: str, *, owns: bool = True) -> None:
        self.roles.append(role)

    def cut_off(self, database: str, role: str | None = None) -> tuple[str, ...]:
        self.cut.append(database)
        return self.scratches.ways_out

    def keep(self, database: str) -> str:
        return self.scratches.keeps

    def go_back(self, database: str) -> bool:
        self.went_back = bool(self.scratches.keeps)
        return self.went_back

    def tables(self, database: str) -> Tables:
        return self.scratches.tables.pop(0) if self.scratches.tables else {}

    def watch(self, database: str) -> FakeWatch:
        return FakeWatch(self.scratches.traces.pop(0) if self.scratches.traces else Trace())

    def close(self) -> None:
        self.closed = True
        self.scratches.left.pop(self.order.name, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FakeWatch:
    def __init__(self, seen: Trace) -> None:
        self._seen = seen

    def trace(self) -> Trace:
        return self._seen

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class FakeScratches:
    """`fault` is the message of the next failures; `left` what was opened and not closed; `orders` all that came;
    `traces` what the next watches see, `tables` what is found at the next looks, both in order; `dead` the names whose
    owners died. `made` hears the URL of each new database; `given`: the servers are somebody else's; `keeps` is how
    they keep a database, "" for not at all; `ways_out` is what they cannot cut off."""

    def __init__(self) -> None:
        self.fault: str | None = None
        self.orders: list[ScratchOrder] = []
        self.servers: list[FakeScratchServer] = []
        self.left: dict[str, ScratchOrder] = {}
        self.swept: list[tuple[str, str]] = []
        self.traces: list[Trace] = []
        self.tables: list[Tables] = []
        self.dead: set[str] = set()
        self.made: Callable[[str], object] = lambda url: None
        self.given = False
        self.keeps = "template"
        self.ways_out: tuple[str, ...] = ()

    def available(self, where: str, major: int) -> str:
        if self.fault is not None:
            raise DatabaseError(self.fault, hint="install it")
        return where

    def folder(self, order: ScratchOrder) -> Path:
        self.left[order.name] = order
        return Path("/scratch") / order.name / "data"

    def give_up(self, order: ScratchOrder) -> None:
        self.left.pop(order.name, None)

    def open(self, order: ScratchOrder) -> FakeScratchServer:
        self.orders.append(order)
        if self.fault is not None:
            self.left.pop(order.name, None)
            raise DatabaseError(self.fault)
        self.left[order.name] = order
        self.servers.append(FakeScratchServer(self, order))
        return self.servers[-1]

    def living(self, app: str, environment: str) -> frozenset[str]:
        mine = [order for order in self.left.values() if (order.app, order.environment) == (app, environment)]
        return frozenset(order.name for order in mine if order.name not in self.dead)

    def sweep(self, app: str, environment: str) -> list[str]:
        self.swept.append((app, environment))
        living = self.living(app, environment)
        mine = [order for order in self.left.values() if (order.app, order.environment) == (app, environment)]
        gone = [order.name for order in mine if order.name not in living]
        for name in gone:
            del self.left[name]
        return [f"scratch server {name}, whose owner died" for name in gone]
