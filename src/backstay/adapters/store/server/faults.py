"""What can go wrong with a store on a server, said in words a person can act on, and what a little time may cure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import psycopg

from backstay.adapters.store.server.address import Server
from backstay.errors import StoreError

OLDEST_SERVER: Final = 13


class Away(StoreError):
    """The server cannot be reached or used for the moment; the same may work a little later."""


class InTheWay(StoreError):
    """Another session was in the way; done again, the same works or says why not."""


@dataclass(frozen=True, slots=True)
class _Fault:
    why: str
    hint: str
    kind: type[StoreError] = StoreError


_REACH: Final = "is the server running, and are host and port in `store:` (or BACKSTAY_STORE) right?"
_FULL: Final = (
    "end sessions nobody needs (`SELECT * FROM pg_stat_activity`), or raise max_connections; Backstay takes one to"
    " three per process"
)
_GRANT: Final = "let the role in `store:` own its database, or GRANT USAGE, CREATE ON SCHEMA … TO it"
_WRITABLE: Final = "name the primary in `store:`, or several hosts with ?target_session_attrs=read-write"
_BUG: Final = "this is a fault in Backstay; please report it"

# By the start of the SQLSTATE (PostgreSQL, "Error Codes"), the longest first.
_BY_STATE: Final = {
    "53300": _Fault("all its connections are taken", _FULL, Away),
    "53100": _Fault("its disk is full", "free some space on the server, then try again"),
    "53200": _Fault("it is out of memory", "look at the server's log, then try again", Away),
    "57P": _Fault("it ended the connection", "look at the server's log", Away),
    "57014": _Fault("it stopped the statement", "statement_timeout of the role may be too short"),
    "25P03": _Fault("it ended the connection", "look at the server's log", Away),
    "0A000": _Fault("a plan is out of date: the schema was changed", "reinstall or upgrade Backstay", Away),
    "08": _Fault("the connection broke", _REACH, Away),
    "25006": _Fault("it accepts no writes: it is a standby, or set to read-only", _WRITABLE, Away),
    "40": _Fault("other sessions were in the way", "try again", InTheWay),
    "55P03": _Fault("another session keeps it locked", "see who waits for whom in pg_locks", InTheWay),
    "23505": _Fault("it refused the row", _BUG, InTheWay),
    "42501": _Fault("the role has no right to do this", _GRANT),
    "42P01": _Fault("a table is missing", "was the schema dropped or search_path changed? put back a backup"),
    "3F000": _Fault("the schema is missing", "create it, or correct search_path in `store:`"),
    "XX001": _Fault("its data is damaged", "look at the server's log, and put back a backup"),
    "XX002": _Fault("an index is damaged", "look at the server's log, and REINDEX"),
    "22": _Fault("it refused the row", _BUG),
    "23": _Fault("it refused the row", _BUG),
}

# A connection that never came to be has no SQLSTATE, only the server's or libpq's words.
_BY_WORDS: Final = {
    "too many clients": _BY_STATE["53300"],
    "too many connections": _BY_STATE["53300"],
    "connection slots are reserved": _BY_STATE["53300"],
    "connection limit exceeded": _BY_STATE["53300"],
    "starting up": _Fault("it is starting up", "wait a moment", Away),
    "shutting down": _Fault("it is shutting down", "wait for its restart", Away),
    "in recovery mode": _Fault(
        "it recovers from a crash", "wait a moment; its log tells how far it is", Away
    ),
    "not yet accepting": _Fault("it is starting up", "wait a moment", Away),
    "read-only": _BY_STATE["25006"],
    "session is not read-write": _BY_STATE["25006"],
    "authentication failed": _Fault("it refused the password", "correct the password in `store:`"),
    "no password supplied": _Fault(
        "it wants a password", "put one into `store:`, as ${VARIABLE} for instance"
    ),
    "no pg_hba.conf entry": _Fault(
        "it lets nobody in from here", "add a line for this host to its pg_hba.conf"
    ),
    "certificate": _Fault("TLS failed", "correct sslmode and sslrootcert in `store:`"),
    "SSL was required": _Fault("it does not speak TLS", "turn ssl on there, or lower sslmode in `store:`"),
    "server does not support SSL": _Fault(
        "it does not speak TLS", "turn ssl on there, or lower sslmode in `store:`"
    ),
    'role "': _Fault("the role does not exist or may not log in", "CREATE ROLE … LOGIN PASSWORD …"),
    'database "': _Fault("the database does not exist", "CREATE DATABASE … OWNER … ENCODING 'UTF8'"),
    "permission denied": _BY_STATE["42501"],
    "refused": _Fault("nothing listens there", _REACH, Away),
    "No such file": _Fault("nothing listens there", _REACH, Away),
    "timeout expired": _Fault("it does not answer", _REACH, Away),
    "resolve host": _Fault("its name is not known", _REACH, Away),
    "could not translate host": _Fault("its name is not known", _REACH, Away),
}
_ELSE: Final = _Fault("the connection broke", _REACH, Away)


@contextmanager
def translated(server: Server, doing: str) -> Iterator[None]:
    """Turn what psycopg raises into StoreError, Away or InTheWay.

    `doing` completes "the state store cannot be …": opened, read, written, made or upgraded.
    """
    try:
        yield
    except psycopg.Error as error:
        raise store_error(server, doing, error) from error


def store_error(server: Server, doing: str, error: BaseException) -> StoreError:
    """The error for one of psycopg's: what happened, what to do about it, and whether time may cure it."""
    fault = _fault_of(error)
    said = server.without_secrets(" ".join(str(error).split()))
    return fault.kind(f"the state store {server} cannot be {doing}: {fault.why} ({said})", hint=fault.hint)


def _fault_of(error: BaseException) -> _Fault:
    state = getattr(error, "sqlstate", None) or ""
    for length in range(5, 1, -1):
        if state[:length] in _BY_STATE:
            return _BY_STATE[state[:length]]
    if state:
        return _Fault("it refused", _BUG)
    said = str(error)
    known = next((fault for words, fault in _BY_WORDS.items() if words in said), None)
    if known is not None:
        return known
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return _ELSE
    return _Fault("it cannot be stored", _BUG)
