"""Connections to the server: with deadlines, as few as possible, and never shared with a copy of this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar
from weakref import WeakSet

import psycopg
from psycopg.abc import PQGen
from psycopg.types.string import StrDumper

from backstay.adapters.store.server.address import Server
from backstay.adapters.store.server.faults import OLDEST_SERVER
from backstay.errors import StoreError

RV = TypeVar("RV")

ANSWER_S: Final = 30.0
"""How long one statement may go unanswered; waiting for a lock included, which ends sooner."""

_DEFAULTS: Final[Mapping[str, Any]] = {
    "application_name": "backstay",
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15000,
    "gssencmode": "disable",
}
"""Parameters of libpq (its "Parameter Key Words") where the URL says nothing else."""

# A commit that was confirmed must be on the disk. A session whose client is gone must not keep its locks for long.
_SESSION: Final = """
SELECT set_config('lock_timeout', '10s', false),
       set_config('idle_in_transaction_session_timeout', '15s', false),
       set_config('default_transaction_isolation', 'read committed', false),
       CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', false) END,
       CASE WHEN %(read_only)s THEN set_config('default_transaction_read_only', 'on', false) END
"""

_open: WeakSet[StoreConnection] = WeakSet()


class StoreConnection(psycopg.Connection[Any]):
    """A connection on which no statement takes longer than ANSWER_S: then it is closed, as if it had broken."""

    answer_s = ANSWER_S

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        try:
            return super().wait(gen, interval, self.answer_s if timeout is None else timeout)
        except psycopg.errors._WaitTimeout as late:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer for {self.answer_s:g} s, timeout expired") from late


class _TextDumper(StrDumper):
    """Text may hold any character but NUL there; a program's output may hold one."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}"))


def connect(server: Server, *, read_only: bool) -> StoreConnection:
    """A new connection, in autocommit mode. Raises psycopg.Error; StoreError when the server is too old."""
    parameters = {**_DEFAULTS, **_parameters(server), "client_encoding": "UTF8"}
    connection = StoreConnection.connect(autocommit=True, **parameters)
    _open.add(connection)
    try:
        if connection.info.server_version < OLDEST_SERVER * 10000:
            raise StoreError(
                f"the state store {server} cannot be used: PostgreSQL {connection.info.server_version // 10000} is too"
                f" old, {OLDEST_SERVER} is the oldest that will do",
                hint="upgrade the server, or name another one in `store:`",
            )
        connection.execute(_SESSION, {"read_only": read_only})
    except BaseException:
        connection.close()
        raise
    connection.adapters.register_dumper(str, _TextDumper)
    return connection


def _parameters(server: Server) -> dict[str, Any]:
    """What the URL says. What libpq says about a malformed one may show a part of it, and so a part of the password."""
    try:
        return psycopg.conninfo.conninfo_to_dict(server.url.reveal())
    except psycopg.Error:
        pass
    raise StoreError(
        f"the state store {server} cannot be opened: the URL is malformed",
        hint="look at its parameters after ? and at every % in BACKSTAY_STORE (or `store:`)",
    )


def open_connections() -> int:
    """How many connections of this process are open."""
    return sum(not connection.closed for connection in list(_open))
