"""What a command works with: the configuration and the state store behind the common options."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backstay import wiring
from backstay.cli.options import Settings
from backstay.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from backstay.config.overview import Outline
    from backstay.domain.environment import Application, DatabaseSource, Environment
    from backstay.domain.secret import Secret
    from backstay.ports.store import Reader, Store


@dataclass
class Project:
    """A configuration file and where its state lies."""

    path: Path
    app: str
    environments: tuple[str, ...]
    where: wiring.Place

    def application(self, environment: str) -> Application:
        """The full, validated configuration of one environment. Raises ConfigError."""
        from backstay.config import load

        return load(self.path, environment, os.environ, self.where.home)

    def receivers(self, environment: str) -> Sequence[Secret]:
        """The URLs of `notify:`; none when the file has a fault, because telling must not keep us from acting."""
        try:
            return self.application(environment).notify
        except ConfigError:
            return ()

    def reader(self) -> Reader:
        return wiring.open_reader(self.where)

    def store(self) -> Store:
        return open_store(self.where)


def open_store(where: wiring.Place) -> Store:
    """The store for work, closed when the command ends."""
    store = wiring.open_store(where)
    click.get_current_context().call_on_close(store.close)
    return store


def project(settings: Settings, environment: str | None = None) -> Project:
    """Find the configuration and read no more of it than its outline. Raises ConfigError, or UsageError for an
    environment it does not have."""
    path = config_path(settings)
    seen = outline_of(path, environment)
    try:
        where = wiring.place(os.environ, seen.store)
    except UsageError:
        if not os.environ.get("BACKSTAY_STORE"):
            _name_the_line(path, environment or seen.environments[0])
        raise
    return Project(path, seen.app, seen.environments, where)


def config_path(settings: Settings) -> Path:
    """The file that --config names, or the nearest backstay.yml. Raises ConfigError."""
    from backstay.config import find

    return find(Path.cwd()) if settings.config is None else Path(settings.config)


def outline_of(path: Path, environment: str | None = None) -> Outline:
    """The outline of the file. Raises ConfigError, or UsageError for an environment it does not have."""
    from backstay.config import outline

    seen = outline(path, os.environ)
    if environment is not None and environment not in seen.environments:
        raise UsageError(
            f"unknown environment {environment!r}", hint=f"{path} has: {', '.join(seen.environments)}"
        )
    return seen


def _name_the_line(path: Path, environment: str) -> None:
    """Read all of the configuration, for whose rules know the line of what is wrong. Raises ConfigError."""
    from backstay.config import load, state_home

    load(path, environment, os.environ, state_home(os.environ))


def database_url(environment: Environment, secret_of: Callable[[DatabaseSource], str]) -> Secret:
    """The URL in the secret that `secret_of` names. ConfigError when there is no database, or no URL."""
    if environment.database is None:
        raise ConfigError(
            f"{environment.app} has no database",
            hint="name it in backstay.yml: database: {url_secret: NAME_OF_THE_SECRET}",
        )
    return secret_value(environment, secret_of(environment.database), ", which is the database URL,")


def secret_value(environment: Environment, name: str, what: str = "") -> Secret:
    """A secret of the environment; `what` says in its error what it is. ConfigError when it is missing or empty."""
    value = wiring.secrets(environment).read().get(name)
    if not value:
        raise ConfigError(
            f"the secret {name}{what} is missing or empty",
            hint=f"set it in {environment.secrets_file or 'a secrets file (environments.ENV.secrets.file)'}",
        )
    return value
