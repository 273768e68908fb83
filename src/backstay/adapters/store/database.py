"""What a store writes into: an SQLite file of this host, or a database on a server that several hosts share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, Protocol, TypeVar, cast

from sqlalchemy import Connection

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Database(Protocol):
    """Rows, transactions and a clock. Safe to use from several threads. All raise StoreError."""

    @property
    def name(self) -> str:
        """What messages call it; never with a password."""

    @property
    def is_shared(self) -> bool:
        """Whether other control hosts may use it too."""

    def rows(self, query: str, values: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
        """All rows of a SELECT with `:name` parameters, by column name."""

    def transaction(self) -> AbstractContextManager[Connection]:
        """A write transaction: all or nothing, on the disk when the block has ended without an error."""

    def until_done(self, write: Callable[[], T]) -> T:
        """What `write` returns, which does all it does in one `transaction()`. Where a connection can break, it is
        called again until the transaction is through, and what it did has happened exactly once."""

    def now_s(self) -> float:
        """Seconds since the epoch by the clock that all users of this database share."""

    def close(self) -> None:
        """Close all files and connections; the next question opens them again."""


def retried(method: F) -> F:
    """For every method that writes: it is one transaction of `self.database`, and outlives a broken connection (see
    `until_done`)."""

    @wraps(method)
    def until_done(self: Any, *args: Any, **kwargs: Any) -> Any:
        database: Database = self.database
        return database.until_done(lambda: method(self, *args, **kwargs))

    return cast(F, until_done)
