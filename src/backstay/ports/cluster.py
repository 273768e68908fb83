"""The server that holds the live database, with the databases beside it: made, copied, swapped and dropped there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from backstay.domain.restore import Loss, Mark
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError


class Written(DatabaseError):
    """The live database was written to although nobody should have: it was left as it is."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who is signed in to a database, in words for people. Sessions of ours do not count."""

    role: str
    application: str
    address: str

    def __str__(self) -> str:
        what = f" ({self.application})" if self.application else ""
        return f"{self.role}{what} from {self.address or 'this host'}"


@dataclass(frozen=True, slots=True)
class Beside:
    """A database of ours beside the live one; `bytes` None where the role may not ask."""

    name: str
    mark: Mark
    bytes: int | None


class Cluster(Protocol):
    """One server, seen with rights to make databases. Raises DatabaseError; any of it may be said twice.

    Databases that it makes or renames carry their mark. It never drops one without.
    """

    def refuse_unfit(self, live: str) -> tuple[str, ...]:
        """DatabaseError that names the missing right when this role cannot do what a swap of `live` needs; else what
        people should know (logical replication that would stay with the old database …). Changes nothing."""

    def settle(self, deployment: str) -> None:
        """End what an earlier process began here for `deployment` and left running: afterwards the names of the
        databases tell truly how far it got."""

    def exists(self, database: str) -> bool: ...

    def beside(self, live: str) -> list[Beside]:
        """Our databases beside `live`, oldest first."""

    def create(self, mark: Mark) -> None:
        """Make an empty database with the owner, encoding, locale and tablespace of the live one."""

    def copy(self, mark: Mark, deadline_s: float) -> tuple[Visitor, ...]:
        """Make a copy of the live database as of one moment at which nobody was signed in to it. Whoever is signed
        in is ended (and told), whoever comes waits until it is done."""

    def swap(
        self, incoming: str, outgoing: Mark, writes: int | None, deadline_s: float
    ) -> tuple[Visitor, ...]:
        """In one transaction: the live database gets the name of the mark `outgoing`, and `incoming` that of the
        live one, with its rights, settings, limits and comment. Sessions are ended as in `copy`. The outgoing one
        accepts nobody from then on; an `incoming` that accepted nobody does again.

        `writes` is what `writes` said when the loss was counted; Written, and nothing is changed, when it is another
        number by now.
        """

    def end(self, database: str) -> tuple[Visitor, ...]:
        """End everybody who is signed in to the database, and return once they are gone; who they were."""

    def writes(self, database: str) -> int | None:
        """A number that grows with every row written to the database; None where the server counts none."""

    def drop(self, mark: Mark) -> bool:
        """Drop the database of that mark, ending its sessions; False when there is none. DatabaseError when one of
        that name does not carry the mark."""

    def loss(
        self,
        live: Secret,
        restored: Secret,
        tables: Sequence[str],
        deadline_s: float,
        stopped: Callable[[], bool],
    ) -> Loss:
        """Compare the rows of these tables one by one, each database in one snapshot of its own."""


class Clusters(Protocol):
    """Servers by URL."""

    def at(self, admin: Secret, deployment: str) -> Cluster:
        """The server of a database URL whose role may make databases; `deployment` names our sessions there."""
