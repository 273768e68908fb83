"""The only place where adapters meet the rest. Heavy libraries are imported when their adapter is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backstay.adapters.clock import SystemClock
from backstay.adapters.host import LinuxHost
from backstay.adapters.store.location import is_open, located
from backstay.adapters.store.server.address import Server
from backstay.config.locate import state_home
from backstay.domain.environment import Environment

if TYPE_CHECKING:
    from backstay.domain.init import Fate
    from backstay.domain.secret import Secret
    from backstay.pipeline.prune import Teller
    from backstay.pipeline.run import World
    from backstay.pipeline.serve import Serve
    from backstay.ports.calendar import Calendar
    from backstay.ports.children import Children
    from backstay.ports.clock import Clock
    from backstay.ports.cluster import Clusters
    from backstay.ports.database import Database
    from backstay.ports.engine import Engine, Login
    from backstay.ports.host import Host
    from backstay.ports.linter import Linter
    from backstay.ports.manager import Manager
    from backstay.ports.prober import Prober
    from backstay.ports.receivers import Receivers
    from backstay.ports.router import Router
    from backstay.ports.scratch import Scratches
    from backstay.ports.secrets import SecretSource
    from backstay.ports.store import Reader, Store
    from backstay.ports.wal import Receiver, WalArchive, WalServer


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
    """The store for work: made or upgraded when needed."""
    from backstay.adapters.store import open_store as opened

    where.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return opened(where.store)


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

    return HaproxyRouter(where.home / "router" / f"{app}-{environment}", app, environment)


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


@dataclass(frozen=True, slots=True)
class BackupPorts:
    """What a backup outside a deployment works with."""

    store: Store
    database: Database
    clock: Clock


def database() -> Database:
    """PostgreSQL through its own tools."""
    from backstay.adapters.postgres import PostgresTools

    return PostgresTools()


@dataclass(frozen=True, slots=True)
class BackupLook:
    """What a look at backups needs; nothing of it writes."""

    store: Reader
    database: Database


def backup_look(where: Place) -> BackupLook:
    """The catalog and the disk, to look at."""
    return BackupLook(open_reader(where), database())


def linter() -> Linter:
    """The linter of migrations."""
    from backstay.adapters.squawk import Squawk

    return Squawk()


@dataclass(frozen=True, slots=True)
class VerifyPorts:
    """What the verification of a backup works with."""

    store: Store
    database: Database
    scratches: Scratches
    clock: Clock


def verify_ports(store: Store, where: Place, environment: Environment | None) -> VerifyPorts:
    """All ports of a verification, wired."""
    return VerifyPorts(store, database(), scratches(where, environment), SystemClock())


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
    """The environment's login to its registry; None where it needs none."""
    from backstay.ports.engine import Login

    source = environment.registry
    if source is None:
        return None
    values = secrets(environment).read()
    return Login(values[source.username_secret].reveal(), values[source.password_secret])


def clusters() -> Clusters:
    """The servers that hold live databases."""
    from backstay.adapters.postgres import PostgresClusters

    return PostgresClusters()


def backup_ports(store: Store) -> BackupPorts:
    """All ports of a backup, wired."""
    return BackupPorts(store, database(), SystemClock())


@dataclass(frozen=True, slots=True)
class RestorePorts:
    """What a look before a restore needs; nothing of it writes."""

    store: Reader
    database: Database


def restore_ports(store: Reader) -> RestorePorts:
    """All ports of a look before a restore, wired."""
    return RestorePorts(store, database())


@dataclass(frozen=True, slots=True)
class ReplacedPorts:
    """What looking after replaced databases needs."""

    store: Reader
    clusters: Clusters
    clock: Clock


def replaced_ports(store: Reader) -> ReplacedPorts:
    """All ports of looking after replaced databases, wired."""
    return ReplacedPorts(store, clusters(), SystemClock())


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
    from backstay.ports.engine import Login

    asked = engine(where, environment)
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


@dataclass(frozen=True, slots=True)
class ProtectionPorts:
    """What a look at an environment's protection needs; nothing of it writes."""

    store: Reader
    archive: WalArchive
    database: Database
    clock: Clock


def protection_ports(store: Reader) -> ProtectionPorts:
    """All ports of a look at the objectives, wired."""
    from backstay.adapters.postgres.wal_archive import WalFolder

    return ProtectionPorts(store, WalFolder(), database(), SystemClock())


def wal_folder(where: Place, environment: Environment) -> Path | None:
    """Where the WAL of an environment is received into; None where it is not."""
    return where.home / "wal" / environment.name if environment.continuous is not None else None


@dataclass(frozen=True, slots=True)
class ServePorts:
    """What `serve` works with."""

    store: Store
    host: Host
    clock: Clock
    calendar: Calendar
    children: Children
    database: Database
    archive: WalArchive
    server: WalServer
    receiver: Receiver


def serve_ports(where: Place, store: Store, config: Path) -> ServePorts:
    """All ports of `serve`, wired. `config` is the configuration file that the commands it starts read."""
    from backstay.adapters.calendar import CronCalendar
    from backstay.adapters.children import OwnCommands
    from backstay.adapters.postgres.receiver import PgReceivewal
    from backstay.adapters.postgres.wal_archive import WalFolder
    from backstay.adapters.postgres.wal_server import PostgresWalServer

    return ServePorts(
        store, host(), SystemClock(), CronCalendar(), OwnCommands(config, where.home), database(), WalFolder(),
        PostgresWalServer(), PgReceivewal(),
    )  # fmt: skip


def serve(where: Place, ports: ServePorts, tell: Teller) -> Serve:
    """Everything that is looked after, before it is told which environments there are."""
    from backstay.errors import SecretsError
    from backstay.pipeline.serve import Serve
    from backstay.pipeline.wal import Watch, WatchOrder

    def watch_of(environment: Environment) -> Watch | None:
        folder, continuous = wal_folder(where, environment), environment.continuous
        if folder is None or continuous is None:
            return None
        name = continuous.replication_url_secret
        url = secrets(environment).read().get(name)
        if not url:
            raise SecretsError(
                f"the secret {name} is missing or empty", hint=f"set it in {environment.secrets_file}"
            )

        def named(kind: str, message: str, **data: Any) -> None:
            tell(kind, f"{environment.name}: {message}", **data)

        rpo_s = environment.policy.rpo_s
        order = WatchOrder(environment.app, environment.name, url, folder, continuous, rpo_s)
        return Watch(ports, order, named)

    return Serve(ports, tell, watch_of, lambda environment: wal_folder(where, environment))


def manager(environ: Mapping[str, str]) -> Manager:
    """The service manager that started us, if one did."""
    from backstay.adapters.manager import Systemd

    return Systemd(environ)


@dataclass(frozen=True, slots=True)
class DrillPorts:
    """What a restore drill, and a recovery to a moment, work with."""

    store: Store
    engine: Engine
    prober: Prober
    database: Database
    scratches: Scratches
    linter: Linter
    clock: Clock
    host: Host
    archive: WalArchive
    server: WalServer


def drill_ports(where: Place, environment: Environment, store: Store) -> DrillPorts:
    """All ports of a drill, wired."""
    from backstay.adapters.postgres.wal_archive import WalFolder
    from backstay.adapters.postgres.wal_server import PostgresWalServer

    return DrillPorts(
        store, engine(where, environment), prober(), database(), scratches(where, environment), linter(),
        SystemClock(), host(), WalFolder(), PostgresWalServer(),
    )  # fmt: skip


def keep_evidence(where: Place, environment: str, name: str, text: str) -> Path:
    """Write the evidence of a drill where it stays; the path. Raises StoreError when the disk does not obey."""
    from backstay.adapters.files import write_durably
    from backstay.errors import StoreError

    folder = where.home / "drills" / environment
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(folder / name, text)
    except OSError as error:
        raise StoreError(f"the evidence cannot be written to {folder}: {error.strerror}") from error
    return folder / name


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


def start_worker(where: Place, deployment: str, work: Callable[[], int], log: Path) -> int:
    """Do `work` in a worker process of its own, detached from us; returns its pid.

    The store must be closed here: RuntimeError when it is not, for the copy would not see its locks, or would share
    its connections. The copy knows where the store is; its environment, which others inherit, does not. StoreError
    when the state folder cannot be written.
    """
    from backstay.adapters.detach import fork_detached
    from backstay.errors import StoreError

    if is_open(where.store):
        raise RuntimeError(f"the state store {where.store} is open while a worker is started")
    hidden: tuple[Secret, ...] = ()
    if isinstance(where.store, Server):
        import backstay.adapters.store.server.writing  # noqa: F401 - before the copy is made, as `preload`

        hidden = where.store.passwords
    try:
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return fork_detached(f"backstay worker {deployment} of {where.home}", work, log, hidden)
    except OSError as error:
        raise StoreError(
            f"no worker was started, as its log {log} cannot be written: {error.strerror}",
            hint=f"is the disk of {where.home} full, or mounted read-only?",
        ) from error


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


def preload() -> None:
    """Import what every runbook needs before its first effect, so that a worker need not do it."""
    import backstay.adapters.haproxy
    import backstay.adapters.http
    import backstay.adapters.leftovers
    import backstay.adapters.postgres
    import backstay.adapters.store.opening
    import backstay.pipeline.recover
    import backstay.pipeline.rollback  # noqa: F401


def receivers(where: Place, urls: Iterable[Secret], deadline_s: float | None = None) -> Receivers:
    """The file log and these receivers; `deadline_s` bounds one attempt, if not as usual."""
    from backstay.adapters.notify import OutsideReceivers
    from backstay.domain.notification import ATTEMPT_DEADLINE_S

    return OutsideReceivers(where.home, urls, deadline_s or ATTEMPT_DEADLINE_S)


def dismiss(pid: int) -> None:
    """End a worker of ours that was started and is not needed."""
    from backstay.adapters.detach import dismiss as end

    end(pid)


def exit_status(pid: int) -> int | None:
    """Exit status of a worker that we started; None while it runs."""
    from backstay.adapters.detach import exit_status as status_of

    return status_of(pid)
