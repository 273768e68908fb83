"""Databases beside the live one, in memory; what is in them is `FakeDatabase`'s matter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from backstay.domain.content import Content
from backstay.domain.restore import Loss, Mark, differing, least_rows, renamed
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError
from backstay.ports.cluster import Beside, Visitor, Written
from backstay.testing.database import FakeDatabase


@dataclass
class FakeClusters:
    """One server with one live database, `live`.

    `unfit` is why the role may not swap; `fault` the message of the next failures; `visitors` are signed in until they
    are ended; `late` are rows that somebody writes just before a swap; `marks` are the databases beside the live one,
    by name; `shut` those that accept nobody. `counts`: whether the server counts what is written. `half_way` is called
    between the making of a database and its end.
    """

    database: FakeDatabase
    live: str = "shop"
    unfit: str | None = None
    fault: str | None = None
    late: int = 0
    counts: bool = True
    visitors: list[Visitor] = field(default_factory=list)
    marks: dict[str, Mark] = field(default_factory=dict)
    shut: set[str] = field(default_factory=set)
    settled: list[str] = field(default_factory=list)
    half_way: Callable[[str], None] = lambda what: None

    def at(self, admin: Secret, deployment: str) -> FakeCluster:
        return FakeCluster(self, admin)

    @property
    def beside(self) -> dict[str, str]:
        """Name to role, of what stands beside the live database."""
        return {name: mark.role.value for name, mark in self.marks.items()}


@dataclass
class FakeCluster:
    server: FakeClusters
    admin: Secret

    def refuse_unfit(self, live: str) -> tuple[str, ...]:
        if self.server.unfit is not None:
            raise DatabaseError(self.server.unfit, hint="ALTER ROLE … CREATEDB")
        return ()

    def settle(self, deployment: str) -> None:
        self.server.settled.append(deployment)

    def exists(self, database: str) -> bool:
        return database == self.server.live or database in self.server.marks

    def beside(self, live: str) -> list[Beside]:
        return [
            Beside(name, mark, 8_000_000) for name, mark in self.server.marks.items() if mark.live == live
        ]

    def create(self, mark: Mark) -> None:
        self._fail()
        if mark.name in self.server.marks:
            raise DatabaseError(f"database {mark.name} exists")
        self.server.marks[mark.name] = mark
        self.server.half_way("cluster.create, made")
        self.server.database.empty.add(self._url(mark.name))

    def copy(self, mark: Mark, deadline_s: float) -> tuple[Visitor, ...]:
        self._fail()
        if mark.name in self.server.marks:
            raise DatabaseError(f"database {mark.name} exists")
        self.server.marks[mark.name] = mark
        self._holds[self._url(mark.name)] = self._content(self.server.live)
        self.server.half_way("cluster.copy, made")
        return self.end(mark.live)

    def swap(
        self, incoming: str, outgoing: Mark, writes: int | None, deadline_s: float
    ) -> tuple[Visitor, ...]:
        self._fail()
        live, server = self._url(outgoing.live), self.server
        if server.late:
            rows, server.late = server.late, 0
            server.database.write(Secret(live), rows)
        if writes is not None and writes != self.writes(outgoing.live):
            raise Written(f"{outgoing.live} was written to")
        if incoming not in server.marks:
            raise DatabaseError(f"there is no database {incoming}")
        old, new = self._content(outgoing.live), self._content(incoming)
        del server.marks[incoming]
        server.marks[outgoing.name] = outgoing
        self._holds[self._url(outgoing.name)], self._holds[live] = old, new
        server.shut.discard(incoming)
        server.shut.add(outgoing.name)
        return self.end(outgoing.live)

    def end(self, database: str) -> tuple[Visitor, ...]:
        ended, self.server.visitors = tuple(self.server.visitors), []
        return ended

    def writes(self, database: str) -> int | None:
        return (self.server.database.server.xid or 0) if self.server.counts else None

    def drop(self, mark: Mark) -> bool:
        if mark.name not in self.server.marks:
            return False
        self._fail()
        self.server.shut.discard(mark.name)
        self._holds.pop(self._url(mark.name), None)
        del self.server.marks[mark.name]
        return True

    def loss(
        self,
        live: Secret,
        restored: Secret,
        tables: Sequence[str],
        deadline_s: float,
        stopped: Callable[[], bool],
    ) -> Loss:
        ours, theirs = (self.server.database.content(url, deadline_s) for url in (live, restored))
        return least_rows(ours, theirs) if differing(ours, theirs) else Loss()

    @property
    def _holds(self) -> dict[str, Content]:
        return self.server.database.holds

    def _content(self, database: str) -> Content:
        return self.server.database.content(Secret(self._url(database)), 1.0)

    def _url(self, database: str) -> str:
        return renamed(self.admin, database).reveal()

    def _fail(self) -> None:
        if self.server.fault is not None:
            raise DatabaseError(self.server.fault)
