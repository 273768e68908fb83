"""What all scratch servers that are ours have in common: databases and roles, through a superuser of our own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

from backstay.adapters.scratch import outward, sql
from backstay.adapters.scratch.locales import missing_locale
from backstay.adapters.scratch.sql import SUPERUSER
from backstay.adapters.scratch.watch import DatabaseWatch
from backstay.domain.secret import Secret
from backstay.domain.tables import Tables
from backstay.errors import DatabaseError

MAINTENANCE: Final = "template1"
"""Every server has it; one called postgres may be the application's, or be missing."""


class OwnServer:
    """A server of ours. Its password is known to this process and to containers that get a URL."""

    ours = True
    notes: tuple[str, ...] = ()

    def __init__(self, major: int, password: Secret) -> None:
        self.major = major
        self._password = password

    @abstractmethod
    def address(self) -> tuple[str, int]:
        """Where this host reaches it."""

    @abstractmethod
    def address_for_containers(self) -> tuple[str, int]:
        """Where containers of its network reach it."""

    @abstractmethod
    def cure(self, locale: str) -> str:
        """What people can do when it lacks a locale."""

    @abstractmethod
    def close(self) -> None: ...

    def url(self, database: str = "", role: str | None = None) -> Secret:
        return sql.url_of(*self.address(), role or SUPERUSER, self._password, database or MAINTENANCE)

    def url_for_containers(self, database: str, role: str | None = None) -> Secret:
        return sql.url_of(*self.address_for_containers(), role or SUPERUSER, self._password, database)

    def create(
        self, database: str, template: str | None = None, like: Mapping[str, str] | None = None
    ) -> None:
        if database == "postgres":  # a new cluster has an empty one
            self.drop(database)
        statement = f"CREATE DATABASE {sql.name(database)} TEMPLATE {sql.name(template or 'template0')}"
        if template is not None and self.major >= 15:
            statement += " STRATEGY FILE_COPY"  # writes no WAL of it; the other way writes every byte twice
        try:
            sql.act(self.url(), statement + sql.shaped(like, template))
        except DatabaseError as error:
            locale = missing_locale(error.message)
            if locale is None:
                raise
            raise DatabaseError(error.message, hint=self.cure(locale)) from error

    def drop(self, database: str) -> None:
        sql.act(self.url(), f"DROP DATABASE IF EXISTS {sql.name(database)} WITH (FORCE)")

    def adopt_role(self, role: str, database: str, *, owns: bool = True) -> None:
        if not sql.rows(self.url(), "SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)):
            sql.act(self.url(), f"CREATE ROLE {sql.name(role)}")
        sql.act(
            self.url(),
            f"ALTER ROLE {sql.name(role)} LOGIN VALID UNTIL 'infinity' PASSWORD {sql.text(self._password.reveal())}",
            *([f"ALTER DATABASE {sql.name(database)} OWNER TO {sql.name(role)}"] if owns else []),
        )

    def cut_off(self, database: str, role: str | None = None) -> tuple[str, ...]:
        return outward.cut_off(self.url(database), role)

    def keep(self, database: str) -> str:
        return sql.keep_copy(self.url(), database)

    def go_back(self, database: str) -> bool:
        return sql.put_back_copy(self.url(), database)

    def tables(self, database: str) -> Tables:
        return sql.tables(self.url(database))

    def watch(self, database: str) -> DatabaseWatch:
        return DatabaseWatch(self.url(database), reads_log=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
