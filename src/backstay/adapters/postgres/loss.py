"""Counting the rows in which two databases differ: each table as a sorted stream of row hashes from both servers.

The servers sort, on their disks where need be; here only two hashes are compared at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from backstay.adapters.postgres.connection import environment
from backstay.adapters.postgres.content import OTHERS, begin, letting_go
from backstay.adapters.postgres.objects import ROW
from backstay.adapters.postgres.session import Session, session
from backstay.domain.restore import Change, Loss, compare
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError

LOCK_WAIT_S: Final = 30.0


def count(
    live: Secret, restored: Secret, tables: Sequence[str], deadline_s: float, stopped: Callable[[], bool]
) -> Loss:
    """Implements `ports.cluster.Cluster.loss`."""
    found: dict[str, Change] = {}
    with contextlib.ExitStack() as stack:
        ours, theirs = (_snapshot(stack, url, deadline_s) for url in (live, restored))
        for table in tables:
            if stopped():
                raise DatabaseError("the comparison was stopped on request")
            found[table] = compare(_hashes(ours, table), _hashes(theirs, table))
    return Loss({name: change for name, change in found.items() if change.rows})


def _snapshot(stack: contextlib.ExitStack, url: Secret, deadline_s: float) -> Session:
    env = stack.enter_context(environment(url))
    asked = stack.enter_context(session(env, deadline_s))
    begin(asked, deadline_s, LOCK_WAIT_S)
    return asked


def _hashes(asked: Session, table: str) -> Iterator[Any]:
    """The hash of every row, sorted; nothing when there is no such table."""
    old = int(asked.value("SELECT current_setting('server_version_num')::int")) < 110000
    hash_ = "hashtext({})::bigint" if old else "hashtextextended({}, 0)"
    if table == OTHERS:
        row = hash_.format("oid::text || md5(lo_get(oid))")
        query = f"SELECT {row} FROM pg_catalog.pg_largeobject_metadata ORDER BY 1"
    elif asked.value("SELECT to_regclass(%s) IS NULL", (table,)):
        return
    else:
        row = hash_.format(f'({asked.value(ROW, (table,))})::text COLLATE "C"')
        query = f'SELECT {row} FROM ONLY {table} AS "backstay row" ORDER BY 1'
    with letting_go(asked):
        for (value,) in asked.stream(query):
            yield value
