"""Scratch servers: PostgreSQL servers that live for minutes, to restore a backup into and to try things out.

Everything that one makes carries its order's name, and is registered before it is made: what an owner that died left
behind is found and removed by `sweep`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from backstay.domain.rehearsal import Trace
from backstay.domain.secret import Secret
from backstay.domain.tables import Tables


@dataclass(frozen=True, slots=True)
class ScratchOrder:
    """Which server is wanted.

    `name` (lower-case letters, digits, `_`, `-`; unique) is carried by all that is made. `major` is PostgreSQL's.
    `where` is `database.scratch` of the configuration: `auto`, `container:IMAGE` or `url:SECRET`. Containers of
    `network` must reach the server; None: only this host does. `data` is the folder that `Scratches.folder` gave
    and `Database.unpack` filled: the server starts on it, and it goes with the server; None: an empty cluster.
    `recovery` are settings for a recovery to a point in time, with `data` alone.
    """

    app: str
    environment: str
    name: str
    major: int
    where: str = "auto"
    network: str | None = None
    data: Path | None = None
    recovery: Mapping[str, str] = field(default_factory=dict)


class ScratchServer(Protocol):
    """A running server; as a context manager it is closed at the end of the block. Raises DatabaseError.

    It is not durable: a crash of the machine may leave its data broken, and nobody needs them then. `notes` say
    what people should know of it; `ours` is False for a server that somebody gives, whose roles are not ours to make.
    """

    major: int
    ours: bool
    notes: tuple[str, ...]

    def url(self, database: str = "", role: str | None = None) -> Secret:
        """How this host reaches a database ("": one that is always there, to ask the server itself), as a superuser
        where the server is ours and no `role` is named."""

    def url_for_containers(self, database: str, role: str | None = None) -> Secret:
        """How containers of the order's network reach it."""

    def create(
        self, database: str, template: str | None = None, like: Mapping[str, str] | None = None
    ) -> None:
        """Make a database: a copy of `template`, on which no session may be, or an empty one.

        `like` gives an empty one the `encoding`, `collation` and `ctype` of another.
        """

    def drop(self, database: str) -> None:
        """Remove a database and end its sessions; nothing happens when it is gone."""

    def adopt_role(self, role: str, database: str, *, owns: bool = True) -> None:
        """Have `role` sign in by `url(…, role)`, and own `database` if it `owns` it; it is made, without rights, when
        missing."""

    def cut_off(self, database: str, role: str | None = None) -> tuple[str, ...]:
        """Cut what leads from a copied database to other servers, before anything runs on it, and say what stays open.

        Foreign servers and subscriptions lead nowhere then, and prepared transactions are rolled back. What stays open
        to `role` (None: the superuser) is named for people; nothing where the server itself cannot get out.
        """

    def keep(self, database: str) -> str:
        """Keep a database as it is now, for `go_back`, where that costs next to nothing; no session may be on it.

        `reflink`: the server's files, by reference, on a filesystem that can do so. `template`: a copy, of a database
        that is small. "" where neither is possible; then nothing is kept.
        """

    def go_back(self, database: str) -> bool:
        """Put the database back as it was kept, and end its sessions; False when it was not kept."""

    def tables(self, database: str) -> Tables:
        """The tables and views of a database as an application sees them, without those of extensions and the
        partitions below them."""

    def watch(self, database: str) -> Watch:
        """Look at what others do in a database, while the block runs."""

    def close(self) -> None:
        """Stop the server, or drop its databases, and remove every trace. May be called twice."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Watch(Protocol):
    """A look at a database from beside, as a context manager."""

    def trace(self) -> Trace:
        """What was seen since the block began: statements, and strong locks on tables that were there before."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Scratches(Protocol):
    """Opens scratch servers. Raises DatabaseError."""

    def available(self, where: str, major: int) -> str:
        """Where a server of this major version would come from, in words; DatabaseError when none can be had. Only
        looks, and starts nothing."""

    def folder(self, order: ScratchOrder) -> Path:
        """A place to unpack a physical backup into, for `order.data`. It is missing yet, its parent is private
        to this order, and both are removed by `close` of the server, or by `sweep` when we die before."""

    def give_up(self, order: ScratchOrder) -> None:
        """Remove what `folder` made for an order that is never opened; nothing happens when there is nothing."""

    def open(self, order: ScratchOrder) -> ScratchServer:
        """Start the server and return once it answers; after a failure nothing of it is left."""

    def living(self, app: str, environment: str) -> frozenset[str]:
        """The names of this environment's orders whose owners live."""

    def sweep(self, app: str, environment: str) -> list[str]:
        """Remove what owners that died left behind of this environment's scratch servers; tells what, one line each."""
