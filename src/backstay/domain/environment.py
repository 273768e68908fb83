"""An environment as a deployment sees it: everything of backstay.yml that is not part of a release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from backstay.domain.backup import BackupKind
from backstay.domain.notification import Channel
from backstay.domain.policy import Policy
from backstay.domain.release import Component, Route
from backstay.domain.schedule import Schedule
from backstay.domain.secret import Secret
from backstay.domain.smoke import SmokeTest
from backstay.domain.wal import Continuous


@dataclass(frozen=True, slots=True)
class Bind:
    """Where the router of an environment listens. An empty host means every address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host or '*'}:{self.port}"

    @property
    def address(self) -> str:
        """As text, the same for whatever listens at the same address: every one may be written in two ways."""
        return f"{'*' if self.is_every else self.host}:{self.port}"

    @property
    def is_every(self) -> bool:
        """Whether it is every IPv4 address of the host."""
        return self.host in ("", "0.0.0.0")

    @property
    def is_loopback(self) -> bool:
        return self.host.startswith("127.") or self.host in ("localhost", "::1")


@dataclass(frozen=True, slots=True)
class CopyCommand:
    """Copies a backup elsewhere. In `command`, {path} is a folder with its files and {name} its name; `secrets` are
    names of secrets for its environment; `deadline_s` is for one attempt."""

    command: tuple[str, ...]
    secrets: tuple[str, ...] = ()
    deadline_s: float = 7200.0


@dataclass(frozen=True, slots=True)
class DatabaseSource:
    """Names of the secrets that hold the database URL: as the application uses it, as this host reaches it, and with
    a role that may make databases beside it ("": the one before). `scratch`: where scratch servers come from, as
    `domain.scratch.Where` reads it. And how the database is backed up (`kind` None: whatever the role may do),
    encrypted (age recipients), and copied elsewhere.
    """

    url_secret: str
    backup_url_secret: str
    scratch: str = "auto"
    admin_url_secret: str = ""
    kind: BackupKind | None = None
    encrypt_to: tuple[str, ...] = ()
    identity_secret: str | None = None
    copy: CopyCommand | None = None

    @property
    def admin(self) -> str:
        """The secret with the URL by which databases are made and renamed."""
        return self.admin_url_secret or self.backup_url_secret

    def identity_in(self, secrets: Mapping[str, Secret]) -> Secret | None:
        """The age identity that decrypts backups; None where none is configured, or it is not there."""
        return secrets.get(self.identity_secret) if self.identity_secret else None


@dataclass(frozen=True, slots=True)
class RegistrySource:
    """Names of the secrets that hold the registry login."""

    username_secret: str
    password_secret: str


@dataclass(frozen=True, slots=True)
class Environment:
    """Settings of one environment, recorded with each deployment so that the worker never reads the file again.

    Holds names of secrets and where to find them (`secrets_file`, absolute), never values. `engine` is `docker` or
    `process`; a process has no network, only a name for the host's. `cors` are the origins that browsers may call from.
    """

    app: str
    name: str
    network: str
    owns_network: bool
    bind: Bind
    policy: Policy
    ports: tuple[int, int]
    backups: str
    engine: str = "docker"
    url: str | None = None
    secrets_file: str | None = None
    database: DatabaseSource | None = None
    registry: RegistrySource | None = None
    smoke: tuple[SmokeTest, ...] = ()
    channels: tuple[Channel, ...] = ()
    cors: tuple[str, ...] = ()
    schedule: Schedule = field(default_factory=Schedule)
    continuous: Continuous | None = None

    def binds(self, gateway: str | None) -> tuple[Bind, ...]:
        """Where the router listens: as configured, and on the network's gateway for calls between components."""
        if gateway is None or self.bind.is_every or self.bind.host in ("::", gateway):
            return (self.bind,)
        return (self.bind, Bind(gateway, self.bind.port))


@dataclass(frozen=True, slots=True)
class Application:
    """backstay.yml, one environment of it: components without version and digest yet, and the environment.

    `notify` are the URLs of receivers. They stay here, in memory: the environment, which is recorded, has only
    `channels`, their schemes and fingerprints.
    """

    environment: Environment
    components: Mapping[str, Component]
    routes: tuple[Route, ...]
    store: str | None
    path: str
    notify: tuple[Secret, ...] = ()
