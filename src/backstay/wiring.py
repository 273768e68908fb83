"""The only place where adapters meet the rest. Heavy libraries are imported when their adapter is first asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backstay.adapters.clock import SystemClock
from backstay.adapters.host import LinuxHost
from backstay.config.locate import state_home
from backstay.domain.environment import Environment
from backstay.errors import UsageError

if TYPE_CHECKING:
    from backstay.pipeline.run import World
    from backstay.ports.clock import Clock
    from backstay.ports.database import Database
    from backstay.ports.engine import Engine
    from backstay.ports.prober import Prober
    from backstay.ports.router import Router
    from backstay.ports.secrets import SecretSource
    from backstay.ports.store import Reader, Store


@dataclass(frozen=True, slots=True)
class Place:
    """Where state lives: the state folder and the store's file."""

    home: Path
    store: Path


def place(environ: Mapping[str, str], configured: str | None = None) -> Place:
    """`$BACKSTAY_HOME` and `$BACKSTAY_STORE`, else `store:` of the configuration, else the defaults."""
    home = state_home(environ)
    named = environ.get("BACKSTAY_STORE") or configured
    return Place(home, _sqlite_path(named) if named else home / "state.db")


def _sqlite_path(named: str) -> Path:
    prefix = "sqlite:///"
    if "://" in named and not named.startswith(prefix):
        raise UsageError(
            f"store {named.partition('://')[0]}://… is not supported yet",
            hint="use a file path or sqlite:///PATH",
        )
    return Path(named.removeprefix(prefix)).expanduser().absolute()


def open_reader(where: Place) -> Reader:
    """The store for questions: never creates, upgrades or writes."""
    from backstay.adapters.store import open_reader as opened

    return opened(where.store)


def open_store(where: Place) -> Store:
    """The store for work: made or upgraded when needed."""
    from backstay.adapters.store import open_store as opened

    where.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return opened(where.store, clock=SystemClock())


def engine() -> Engine:
    """The Docker engine of this host, or the one `DOCKER_HOST` names."""
    from backstay.adapters.docker import DockerEngine

    return DockerEngine()


def router(where: Place, app: str, environment: str) -> Router:
    """The router of one environment."""
    from backstay.adapters.haproxy import HaproxyRouter

    return HaproxyRouter(where.home / "router" / f"{app}-{environment}", app, environment)


def secrets(environment: Environment) -> SecretSource:
    """The environment's secrets; none at all when no file is configured."""
    from backstay.config.secrets_file import NoSecrets, SecretsFile

    return SecretsFile(environment.secrets_file) if environment.secrets_file else NoSecrets()


def world(where: Place, environment: Environment, store: Store) -> World:
    """All ports of one environment, wired."""
    from backstay.pipeline.run import World

    return World(
        store=store,
        engine=engine(),
        router=router(where, environment.app, environment.name),
        prober=prober(),
        database=database(),
        secrets=secrets(environment),
        clock=SystemClock(),
        host=host(),
        home=str(where.home),
    )


def database() -> Database:
    """PostgreSQL through its own tools."""
    from backstay.adapters.postgres import PostgresTools

    return PostgresTools()


def digest_of(environment: Environment) -> Callable[[str, str], str]:
    """A function that asks the registry for a manifest digest with the environment's login."""
    from backstay.ports.engine import Login

    asked = engine()
    login = None
    if environment.registry is not None:
        values = secrets(environment).read()
        source = environment.registry
        missing = [k for k in (source.username_secret, source.password_secret) if k not in values]
        if missing:
            from backstay.errors import CheckFailed

            raise CheckFailed(
                f"secrets missing: {', '.join(missing)}",
                hint=f"set them in {environment.secrets_file or 'a secrets file'}",
            )
        login = Login(values[source.username_secret].reveal(), values[source.password_secret])

    def ask(image: str, version: str) -> str:
        return asked.digest(image, version, login)

    return ask


def prober() -> Prober:
    """HTTP."""
    from backstay.adapters.http import HttpProber

    return HttpProber()


def host() -> LinuxHost:
    """This machine."""
    return LinuxHost()


def clock() -> Clock:
    """This machine's."""
    return SystemClock()


def start_worker(where: Place, deployment: str, log: Path) -> int:
    """Start the worker of a deployment, detached from us, and return its pid."""
    from backstay.adapters.detach import detach

    return detach("backstay.worker", [str(where.home), str(where.store), deployment, str(os.getpid())], log)


def preload() -> None:
    """Import what every runbook needs before its first effect."""
    import backstay.adapters.haproxy
    import backstay.adapters.http
    import backstay.pipeline.rollback

    backstay.adapters.http.preload()


def dismiss(pid: int) -> None:
    """End a worker of ours that was started and is not needed."""
    from backstay.adapters.detach import dismiss as end

    end(pid)


def exit_status(pid: int) -> int | None:
    """Exit status of a worker that we started; None while it runs."""
    from backstay.adapters.detach import exit_status as status_of

    return status_of(pid)
