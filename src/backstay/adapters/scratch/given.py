"""Scratch databases on a server that somebody gives: named so that ours are known, and dropped at the end."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote, urlsplit, urlunsplit

from backstay.adapters.scratch import outward, sql
from backstay.adapters.scratch.claim import Claim
from backstay.adapters.scratch.watch import DatabaseWatch
from backstay.domain.secret import Secret
from backstay.domain.tables import Tables
from backstay.errors import DatabaseError
from backstay.ports.scratch import ScratchOrder

LONGEST_NAME: Final = 63
"""PostgreSQL cuts longer identifiers (NAMEDATALEN)."""


class GivenServer:
    """Implements ports.scratch.ScratchServer. Everybody signs in as the role of the given URL, which must be allowed
    to make databases; containers reach it as this host does, except by a loopback address."""

    def __init__(self, order: ScratchOrder, claim: Claim, url: Secret, gateway: str | None) -> None:
        self.major = order.major
        self.ours = False
        self.notes: tuple[str, ...] = ()
        self._url = url
        self._claim = claim
        self._gateway = gateway
        self._prefix = prefix_of(order.name)

    def start(self) -> None:
        """Look whether the server will do. DatabaseError when it is of another version or may not be used."""
        question = (
            "SELECT current_setting('server_version_num')::int / 10000, rolcreatedb OR rolsuper, rolname"
            " FROM pg_roles WHERE rolname = current_user"
        )
        [(major, may_create, role)] = sql.rows(self._url, question)
        if major != self.major:
            raise DatabaseError(
                f"the scratch server given is PostgreSQL {major}, but {self.major} is needed",
                hint=f"give one of version {self.major}, or leave database.scratch at auto",
            )
        if not may_create:
            raise DatabaseError(
                f"role {role} may not make databases on the scratch server given",
                hint=f"ALTER ROLE {sql.name(role)} CREATEDB",
            )
        self.notes = (f"the scratch server is a given one: all sign in as {role}, also the application",)

    def url(self, database: str = "", role: str | None = None) -> Secret:
        return self._to(self._url, database)

    def url_for_containers(self, database: str, role: str | None = None) -> Secret:
        parts = urlsplit(self._url.reveal())
        host = parts.hostname or ""
        if self._gateway is None or not (host.startswith("127.") or host in ("localhost", "::1")):
            return self._to(self._url, database)
        who = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        port = f":{parts.port}" if parts.port else ""
        return self._to(Secret(urlunsplit(parts._replace(netloc=f"{who}{self._gateway}{port}"))), database)

    def create(
        self, database: str, template: str | None = None, like: Mapping[str, str] | None = None
    ) -> None:
        named = sql.name(self._real(database))
        source = sql.name(self._real(template)) if template else "template0"
        sql.act(self._url, f"CREATE DATABASE {named} TEMPLATE {source}{sql.shaped(like, template)}")

    def drop(self, database: str) -> None:
        drop(self._url, self._real(database))

    def adopt_role(self, role: str, database: str, *, owns: bool = True) -> None:
        """Roles of somebody else's server are left as they are."""

    def cut_off(self, database: str, role: str | None = None) -> tuple[str, ...]:
        """All sign in as the role of the given URL, whatever `role` is."""
        url = self.url(database)
        [(me,)] = sql.rows(url, "SELECT current_user")
        return outward.cut_off(url, me)

    def keep(self, database: str) -> str:
        return sql.keep_copy(self._url, self._real(database))

    def go_back(self, database: str) -> bool:
        return sql.put_back_copy(self._url, self._real(database))

    def tables(self, database: str) -> Tables:
        return sql.tables(self.url(database))

    def watch(self, database: str) -> DatabaseWatch:
        return DatabaseWatch(self.url(database), reads_log=False)

    def close(self) -> None:
        drop_all(self._url, self._prefix)
        self._claim.give_back()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _real(self, database: str) -> str:
        longest = LONGEST_NAME - len(sql.KEPT)
        return (self._prefix + database).encode()[:longest].decode(errors="ignore")

    def _to(self, url: Secret, database: str) -> Secret:
        """The URL of one of our databases; of the one that was given, when none is named."""
        return _led_to(url, self._real(database)) if database else url


def prefix_of(name: str) -> str:
    """What the names of a scratch server's databases begin with; no other scratch server has the same."""
    return f"backstay_{hashlib.sha256(name.encode()).hexdigest()[:12]}_"


def drop(url: Secret, database: str) -> None:
    """Drop a database by its real name, with its subscriptions."""
    if sql.rows(url, sql.SUBSCRIBED, (database,)):
        outward.unsubscribe(_led_to(url, database))
    sql.act(url, f"DROP DATABASE IF EXISTS {sql.name(database)} WITH (FORCE)")


def _led_to(url: Secret, database: str) -> Secret:
    """The URL of another database on the same server."""
    return Secret(urlunsplit(urlsplit(url.reveal())._replace(path=f"/{quote(database, safe='')}")))


def drop_all(url: Secret, prefix: str) -> None:
    """Drop every database whose name begins with `prefix`."""
    for (database,) in sql.rows(
        url, "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (prefix,)
    ):
        drop(url, database)
