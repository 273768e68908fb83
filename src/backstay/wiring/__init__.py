"""The only place where adapters meet the rest. Heavy libraries are imported when their adapter is first asked for.

Here are the ports one by one, and what a deployment works with; the modules beside it have what other work needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backstay.adapters.clock import SystemClock
from backstay.adapters.host import LinuxHost
from backstay.adapters.store.location import located
from backstay.adapters.store.server.address import Server
from backstay.config.locate import state_home
from backstay.domain.environment import Environment
from backstay.wiring import backup as backup
from backstay.wiring import drill as drill
from backstay.wiring import serve as serve
from backstay.wiring import worker as worker

if TYPE_CHECKING:
    from backstay.domain.init import Fate
    from backstay.domain.secret import Secret
    from backstay.pipeline.run import World
    from backstay.ports.clock import Clock
    from backstay.ports.cluster import Clusters
    from backstay.ports.database import Database
    from backstay.ports.engine import Engine, Login
    from backstay.ports.host import Host
    from backstay.ports.linter import Linter
    from backstay.ports.prober import Prober
    from backstay.ports.receivers import Receivers
    from backstay.ports.router import Router
    from backstay.ports.scratch import Scratches
    from backstay.ports.secrets import SecretSource
    from backstay.ports.store import Reader, Store


@dataclass(frozen=True, slots=True)
class Place:
    """Where state lives: the state folder, and the store's file or server."""

    home: Path
    store: Path | Server


def place(environ: Mapping[str, str], configured: str | None = None) -> Place:
    """`$BACKSTAY_HOME` and `$BACKSTAY_STORE`, else `store:` of the configuration, else the defaults.

    Raises UsageError when what is named can be no store.
    """
    home = state_home(environ)
    return Place(home, located(environ.get("BACKSTAY_STORE") or configured or home / "state.db"))


def open_reader(where: Place) -> Reader:
    """The store for questions: never creates, upgrades or writes."""
    from backstay.adapters.store import open_reader as opened

    return opened(where.store)


def open_store(where: Place) -> Store:
    """The store for work: made or upgraded when needed. Raises StoreError."""
    from backstay.adapters.store import open_store as opened

    make_home(where)
    return opened(where.store)


def make_home(where: Place) -> None:
    """Make the state folder where it is missing. StoreError when it cannot be used."""
    from backstay.errors import StoreError

    try:
        where.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.listdir(where.home)  # noqa: PTH208 - no list is wanted
    except OSError as error:
        why = "it is no folder" if isinstance(error, FileExistsError) else error.strerror
        raise StoreError(
            f"the state folder {where.home} cannot be used: {why}",
            hint=f"ls -ld {where.home} shows whose it is: deploy as that user, or let BACKSTAY_HOME name a folder of "
            "your own",
            state="nothing was changed",
        ) from error


def engine(where: Place | None = None, environment: Environment | None = None) -> Engine:
    """The engine of an environment as it is recorded or configured; the Docker engine of this host (or the one
    `DOCKER_HOST` names) when there is none."""
    if where is not None and environment is not None and environment.engine == "process":
        from backstay.adapters.process import ProcessEngine

        return ProcessEngine(where.home / "process")
    from backstay.adapters.docker import DockerEngine

    return DockerEngine()


def live_engine(where: Place, reader: Reader, app: str, environment: str) -> Engine:
    """The engine under which the live slot was made: the file may name another by now, or be broken."""
    slots = reader.slots(app, environment)
    mapping = slots.serving or next(iter(slots.mappings.values()), None)
    return engine(where, reader.environment_of(mapping.deployment) if mapping else None)


def router(where: Place, app: str, environment: str) -> Router:
    """The router of one environment."""
    from backstay.adapters.haproxy import HaproxyRouter

    return HaproxyRouter(where.home / "router" / _folder(app, environment), app, environment)


def _folder(app: str, environment: str) -> str:
    """A folder that no other environment has: names have dashes, and no dot."""
    return f"{app}.{environment}"


@dataclass(slots=True)
class Look:
    """The ports that a look at an environment needs; nothing of it writes."""

    store: Reader
    engine: Engine
    router: Router
    prober: Prober
    host: Host
    clock: Clock


def look(where: Place, app: str, environment: str) -> Look:
    """What `status` and the like look with."""
    reader = open_reader(where)
    asked = live_engine(where, reader, app, environment)
    return Look(reader, asked, router(where, app, environment), prober(), host(), clock())


def secrets(environment: Environment) -> SecretSource:
    """The environment's secrets; none at all when no file is configured."""
    from backstay.config.secrets_file import NoSecrets, SecretsFile

    return SecretsFile(environment.secrets_file) if environment.secrets_file else NoSecrets()


def database() -> Database:
    """PostgreSQL through its own tools."""
    from backstay.adapters.postgres import PostgresTools

    return PostgresTools()


def linter() -> Linter:
    """The linter of migrations."""
    from backstay.adapters.squawk import Squawk

    return Squawk()


def scratches(where: Place, environment: Environment | None) -> Scratches:
    """Scratch servers of an environment; of none, where there is no configuration."""
    from backstay.adapters.scratch import OpenScratches

    if environment is None:
        return OpenScratches(where.home / "scratch", engine())

    def login() -> Login | None:
        return registry_login(environment)

    return OpenScratches(
        where.home / "scratch",
        engine(where, environment),
        lambda name: secrets(environment).read().get(name),
        login,
    )


def registry_login(environment: Environment) -> Login | None:
    """The environment's login to its registry; None where it needs none. CheckFailed when its secrets are missing."""
    from backstay.pipeline.secret import needed
    from backstay.ports.engine import Login

    source = environment.registry
    if source is None:
        return None
    names = (source.username_secret, source.password_secret)
    found = needed(environment, secrets(environment).read(), names)
    return Login(found[source.username_secret].reveal(), found[source.password_secret])


def clusters() -> Clusters:
    """The servers that hold live databases."""
    from backstay.adapters.postgres import PostgresClusters

    return PostgresClusters()


def world(where: Place, environment: Environment, store: Store) -> World:
    """All ports of one environment, wired."""
    from backstay.adapters.leftovers import StateFolder
    from backstay.pipeline.run import World

    return World(
        store=store,
        engine=engine(where, environment),
        router=router(where, environment.app, environment.name),
        prober=prober(),
        database=database(),
        secrets=secrets(environment),
        clock=SystemClock(),
        host=host(),
        home=str(where.home),
        scratches=scratches(where, environment),
        linter=linter(),
        clusters=clusters(),
        leftovers=StateFolder(where.home),
    )


def looking(where: Place, environment: Environment, reader: Reader) -> World:
    """The ports of one environment over a store that can only be read: for a look at what recovery would do."""
    from typing import cast

    from backstay.ports.store import Store

    return world(where, environment, cast(Store, reader))


def digest_of(where: Place, environment: Environment) -> Callable[[str, str], str]:
    """A function that asks the engine for a release's digest, with the environment's login to the registry."""
    asked, login = engine(where, environment), registry_login(environment)

    def ask(image: str, version: str) -> str:
        return asked.digest(image, version, login)

    return ask


def wal_folder(where: Place, environment: Environment) -> Path | None:
    """Where the WAL of an environment is received into; None where it is not."""
    if environment.continuous is None:
        return None
    return where.home / "wal" / _folder(environment.app, environment.name)


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


def init_template(name: str) -> str:
    """A template of `init`, as text."""
    from backstay.adapters.init import template

    return template(name).decode()


def init_scripts(start: Path, *, force: bool) -> tuple[Path, list[tuple[str, Fate]]]:
    """Write the scripts for workflows into the repository around `start`; its root, and path and fate of each."""
    from backstay.adapters.init import repository, scripts, write

    root = repository(start)
    return root, write(root, scripts(), force=force)


def init_config(path: Path, text: str) -> None:
    """Write a first backstay.yml. Raises UsageError when there is anything already."""
    from backstay.adapters.init import write_new

    write_new(path, text)


def receivers(where: Place, urls: Iterable[Secret], deadline_s: float | None = None) -> Receivers:
    """The file log and these receivers; `deadline_s` bounds one attempt, if not as usual."""
    from backstay.adapters.notify import OutsideReceivers
    from backstay.domain.notification import ATTEMPT_DEADLINE_S

    return OutsideReceivers(where.home, urls, deadline_s or ATTEMPT_DEADLINE_S)
