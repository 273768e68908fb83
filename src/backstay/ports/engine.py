"""The container engine and, through it, the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from backstay.domain.secret import Secret


@dataclass(frozen=True, slots=True)
class Login:
    """Registry credentials."""

    username: str
    password: Secret


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Who answered: engine and API version, platform as `linux/amd64`.

    `time` is the engine's clock in seconds since the epoch, `root` the folder in which it keeps images and
    volumes, as its own host names it; None and "" where an engine does not tell.
    """

    version: str
    api_version: str
    platform: str
    time: float | None = None
    root: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the registry has: the manifest's digest, and the platforms it is built for, as `linux/amd64`
    (empty when the registry does not tell)."""

    digest: str
    platforms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Network:
    """A network containers join; `gateway` is the host's address on it.

    `internal`: containers on it reach one another and this host, and nothing else. Their ports are not published
    then; this host reaches them at their own addresses.
    """

    name: str
    gateway: str
    internal: bool = False


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A container to create. `image` is what `Engine.pull` returned; `memory` bytes.

    `published` is the container port to publish on a fixed loopback port taken from `port_range` (both ends
    included); None publishes nothing. `restarts` False makes it a one-off that stays after its end. An empty
    `entrypoint` or `command` leaves that of the image.
    """

    name: str
    image: str
    network: str
    labels: Mapping[str, str]
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    memory: int | None = None
    published: int | None = None
    port_range: tuple[int, int] = (20000, 20999)
    restarts: bool = True
    entrypoint: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Container:
    """A container as the engine sees it now. `restarts` counts since creation; `port` is the host's.

    `can_restart` False: no engine brings it back when it dies. `address` is its own on its network, "" where it
    has none.
    """

    id: str
    name: str
    labels: Mapping[str, str]
    image: str
    running: bool
    restarting: bool
    exit_code: int | None
    restarts: int
    port: int | None
    started_at: str = ""
    oom_killed: bool = False
    can_restart: bool = True
    address: str = ""


class Engine(Protocol):
    """A container engine. Every call has a deadline and raises EngineError (RegistryError for registry trouble)."""

    def info(self) -> EngineInfo:
        """Ask the engine who it is."""

    def digest(self, image: str, version: str, login: Login | None) -> str:
        """The manifest digest the registry has for `image:version` now. Pulls nothing."""

    def manifest(self, image: str, version: str, login: Login | None) -> Manifest:
        """The manifest of `image:version`, or of `image@version` when `version` is a digest (`sha256:…`).
        Pulls nothing."""

    def sign_in(self, image: str, login: Login) -> None:
        """Have the registry of `image` accept the login, which is kept nowhere; RegistryError when it does not."""

    def missing_bytes(self, image: str, digest: str, login: Login | None) -> int | None:
        """Bytes (packed) that `pull` would fetch: layers that no image of the same name has here already.

        0 when it is here. None when that cannot be known, which is no error.
        """

    def held(self, image: str, digest: str) -> str | None:
        """The reference by which `run` takes `image@digest` when it is here already; None when it is not."""

    def finds(self, reference: str, command: str) -> bool | None:
        """Whether `command`, the first word of a command line, can be found in the image that `held` named.

        A relative one is looked for as the image's own PATH and folder have it. None when something else of the
        image runs first (an entry point) and decides. Starts nothing and leaves nothing.
        """

    def free_ports(self, port_range: tuple[int, int], wanted: int) -> int:
        """How many loopback ports of `port_range` new containers could be published on; stops at `wanted`."""

    def pull(self, image: str, version: str, digest: str, login: Login | None) -> str:
        """Fetch `image@digest` when it is not here and keep it under a tag of ours; returns that reference."""

    def network(
        self, name: str, create: bool, labels: Mapping[str, str], *, internal: bool = False
    ) -> Network:
        """The network `name`; created with `labels` when missing and `create`, else an EngineError.

        `internal` asks for one without a way out, where the engine can make such a one: the answer tells.
        """

    def run(self, spec: ContainerSpec) -> Container:
        """Create and start. A container with the same name and labels is adopted instead of made twice.

        An adopted one that does not run is started, except a one-off (`restarts` False) that has ended: it is
        returned with its exit code. One of that name with other labels is an error and stays untouched.
        """

    def inspect(self, container: str) -> Container | None:
        """The container by id or name, or None when there is none."""

    def find(self, labels: Mapping[str, str]) -> list[Container]:
        """All containers, running or not, that carry all of `labels`; ValueError when `labels` is empty."""

    def wait(self, container: str, deadline_s: float) -> int | None:
        """The exit code once the container ended, or None when `deadline_s` seconds went by."""

    def stop(self, container: str, grace_s: float) -> None:
        """Ask it to end, kill it after `grace_s`. Nothing happens when it is gone."""

    def remove(self, container: str) -> None:
        """Remove it, running or not. Nothing happens when it is gone."""

    def logs(self, container: str, lines: int) -> list[str]:
        """Its last lines of output, unredacted: the caller must redact before showing them."""

    def networks(self, labels: Mapping[str, str]) -> list[str]:
        """The names of all networks that carry all of `labels`; ValueError when `labels` is empty."""

    def remove_network(self, name: str, labels: Mapping[str, str]) -> None:
        """Remove the network if it carries `labels`; nothing happens when it is gone or not ours."""
