"""A SQLAlchemy engine on the server, for what writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from backstay.adapters.store.server import faults
from backstay.adapters.store.server.address import Server
from backstay.adapters.store.server.connection import connect

KEPT: Final = 2
MOST: Final = 3
"""Connections per process: what stays open between two questions, and what a busy moment may take."""


def writing_engine(server: Server) -> Engine:
    """An engine whose connections stay open and may change threads. A forked process must not use it.

    A transaction begins with a BEGIN of its user; SQLAlchemy ends it.
    """

    return create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(server, read_only=False),
        pool_size=KEPT,
        max_overflow=MOST - KEPT,
        pool_timeout=10.0,
        use_native_hstore=False,
    )


@contextmanager
def translated(server: Server, doing: str) -> Iterator[None]:
    """As faults.translated, and SQLAlchemy's own errors with it."""
    with faults.translated(server, doing):
        try:
            yield
        except DBAPIError as error:
            raise faults.store_error(server, doing, error.orig or error) from error
        except PoolTimeout as error:
            raise faults.Away(
                f"the state store {server} cannot be {doing}: all {MOST} connections of this process are busy",
                hint="look at pg_stat_activity there for what they wait for",
            ) from error
        except SQLAlchemyError as error:
            raise faults.store_error(server, doing, error) from error
