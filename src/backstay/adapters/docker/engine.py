"""The Engine port over the Docker SDK. Each call opens a client of its own and leaves nothing open.

A client per call costs a millisecond or two and buys three things: no call sees another's deadline, threads
share nothing, and no credentials stay behind.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final

from backstay.errors import EngineError
from backstay.ports.engine import Container, ContainerSpec, EngineInfo, Login, Manifest, Network

if TYPE_CHECKING:
    from docker import APIClient

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
CALL_S: Final = 30.0
PULL_S: Final = 900.0
_POLL_S: Final = 0.1
_PROBE_S: Final = 2.0


class DockerEngine:
    """Docker on this host. Every call ends within its deadline, in a result or in an EngineError.

    `host` is a socket (`unix:///path`); None takes $DOCKER_HOST, then the usual socket. Engines elsewhere are
    refused: containers are published on this host's loopback. `call_s` bounds a call in seconds (run
    gets twice that, stop its grace on top), `pull_s` a pull.
    """

    def __init__(self, host: str | None = None, *, call_s: float = CALL_S, pull_s: float = PULL_S) -> None:
        self._socket = _socket_of(host or os.environ.get("DOCKER_HOST") or DEFAULT_HOST)
        self._call_s = call_s
        self._pull_s = pull_s
        self._api_version: str | None = None

    def info(self) -> EngineInfo:
        """Ask the engine who it is."""
        with self._call("ask the engine who it is", self._call_s) as client:
            found = client.version()
            told = client.info()
        return EngineInfo(
            found["Version"],
            found["ApiVersion"],
            f"{found['Os']}/{found['Arch']}",
            time=_epoch(str(told.get("SystemTime", ""))),
            root=str(told.get("DockerRootDir", "")),
        )

    def digest(self, image: str, version: str, login: Login | None) -> str:
        """The manifest digest the registry has for `image:version` now. Pulls nothing."""
        from backstay.adapters.docker import images

        reference = f"{image}:{version}"
        with self._call("look up", self._call_s, reference) as client:
            return images.digest_of(client, reference, login)

    def manifest(self, image: str, version: str, login: Login | None) -> Manifest:
        """The manifest of `image:version`, or `image@version` when `version` is a digest. Pulls nothing."""
        from backstay.adapters.docker import images

        reference = f"{image}@{version}" if version.startswith("sha256:") else f"{image}:{version}"
        with self._call("look up", self._call_s, reference) as client:
            return images.manifest_of(client, reference, login)

    def sign_in(self, image: str, login: Login) -> None:
        """Have the registry of `image` accept the login, which is kept nowhere."""
        from backstay.adapters.docker import images

        with self._call("sign in for", self._call_s, image) as client:
            images.sign_in(client, image, login)

    def missing_bytes(self, image: str, digest: str, login: Login | None) -> int | None:
        """Packed bytes that a pull would fetch; None when the registry does not tell."""
        from backstay.adapters.docker import images, layers

        with self._call("look at the images here", self._call_s) as client:
            if images.held(client, image, digest) is not None:
                return 0
            found = client.version()
            return layers.missing_bytes(client, image, digest, login, f"{found['Os']}/{found['Arch']}")

    def held(self, image: str, digest: str) -> str | None:
        """The local reference of `image@digest`, or None when it is not here."""
        from backstay.adapters.docker import images

        with self._call("look for an image", self._call_s) as client:
            return images.held(client, image, digest)

    def finds(self, reference: str, command: str) -> bool | None:
        """Whether a local image has `command`; None when its entry point decides."""
        from backstay.adapters.docker import inside

        with self._call(f"look into {reference}", self._call_s) as client:
            return inside.finds(client, reference, command)

    def free_ports(self, port_range: tuple[int, int], wanted: int) -> int:
        """How many loopback ports of `port_range` are free for new containers; stops at `wanted`."""
        from itertools import islice

        from backstay.adapters import loopback
        from backstay.adapters.docker import containers

        with self._call("list the ports of containers", self._call_s) as client:
            reserved = containers.reserved_ports(client)
        return len(list(islice(loopback.free_ports(port_range, reserved), wanted)))

    def pull(self, image: str, version: str, digest: str, login: Login | None) -> str:
        """Fetch `image@digest` when it is not here and keep it under a tag of ours; returns that tag."""
        from backstay.adapters.docker import images

        with self._call("pull", self._pull_s, f"{image}:{version}@{digest}") as client:
            return images.fetch(client, image, version, digest, login)

    def network(
        self, name: str, create: bool, labels: Mapping[str, str], *, internal: bool = False
    ) -> Network:
        """The network `name`; created with `labels` when missing and `create`, else an EngineError."""
        from backstay.adapters.docker import networks

        with self._call(f"join network {name!r}", self._call_s) as client:
            return networks.join(client, name, create, labels, internal)

    def networks(self, labels: Mapping[str, str]) -> list[str]:
        """The names of all networks that carry all of `labels`; at least one label must be given."""
        from backstay.adapters.docker import networks

        if not labels:
            raise ValueError("networks() without labels would give every network of the host")
        with self._call("list networks", self._call_s) as client:
            return networks.labelled(client, labels)

    def remove_network(self, name: str, labels: Mapping[str, str]) -> None:
        """Remove the network if it carries `labels`; nothing happens when it is gone or not ours."""
        from backstay.adapters.docker import networks

        with self._call(f"remove network {name!r}", self._call_s) as client:
            networks.remove(client, name, labels)

    def run(self, spec: ContainerSpec) -> Container:
        """Create and start. A container with the same name and labels is adopted instead of made twice.

        A one-off (`restarts` False) that has ended is returned as it is, not started again.
        """
        from backstay.adapters.docker import containers

        with self._call(f"start container {spec.name!r}", 2 * self._call_s) as client:
            made = containers.look(client, containers.run(client, spec))
        if made is None:
            raise EngineError(f"container {spec.name!r} vanished right after its start")
        return containers.view(made)

    def inspect(self, container: str) -> Container | None:
        """The container by name or id (at least its first 12 digits), or None when there is none."""
        from backstay.adapters.docker import containers

        with self._call(f"look at container {container!r}", self._call_s) as client:
            found = containers.look(client, container)
        return None if found is None else containers.view(found)

    def find(self, labels: Mapping[str, str]) -> list[Container]:
        """All containers, running or not, that carry all of `labels`; at least one label must be given."""
        from backstay.adapters.docker import containers

        if not labels:
            raise ValueError("find() without labels would give every container of the host")
        with self._call("list containers", self._call_s) as client:
            return containers.find(client, labels)

    def wait(self, container: str, deadline_s: float) -> int | None:
        """The exit code once the container ended, or None when `deadline_s` seconds went by.

        Looks again and again instead of holding one long request: so a hung engine is told apart from a
        container that still runs.
        """
        from backstay.adapters.docker import containers

        until = time.monotonic() + deadline_s
        while True:
            found = self.inspect(container)
            if found is None:
                raise EngineError(f"container {container!r} is gone, so its exit code cannot be known")
            if containers.has_ended(found):
                return found.exit_code
            left = until - time.monotonic()
            if left <= 0:
                return None
            time.sleep(min(_POLL_S, left))

    def stop(self, container: str, grace_s: float) -> None:
        """Ask it to end, kill it after `grace_s`. Nothing happens when it is gone."""
        from backstay.adapters.docker import containers

        with self._call(f"stop container {container!r}", self._call_s + grace_s) as client:
            containers.stop(client, container, math.ceil(grace_s))

    def remove(self, container: str) -> None:
        """Remove it, running or not. Nothing happens when it is gone."""
        from backstay.adapters.docker import containers

        with self._call(f"remove container {container!r}", self._call_s) as client:
            containers.remove(client, container)

    def logs(self, container: str, lines: int) -> list[str]:
        """Its last lines of output, unredacted: the caller must redact before showing them."""
        from backstay.adapters.docker import containers

        with self._call(f"read the output of container {container!r}", self._call_s) as client:
            return containers.logs(client, container, lines)

    @contextmanager
    def _call(self, doing: str, seconds: float, reference: str | None = None) -> Iterator[APIClient]:
        """A client for one call; what goes wrong comes out as EngineError.

        `reference` is the image when the engine asks a registry for us. Time may then have run out on either,
        so an engine that still answers clears itself and leaves the registry to blame.
        """
        from backstay.adapters.docker import connection, faults, registry

        try:
            with connection.connect(self._socket, self._api_version, seconds) as client:
                self._api_version = client.api_version
                yield client
        except faults.FOREIGN as error:
            # Another engine may answer next time, with another version.
            self._api_version = None
            if reference is not None and faults.timed_out(error) and self._answers():
                raise registry.unreachable(doing, reference, seconds) from None
            what = f"{doing} {reference}" if reference else doing
            raise faults.translate(error, what, self._socket, seconds) from error

    def _answers(self) -> bool:
        from backstay.adapters.docker import connection, faults

        try:
            with connection.connect(self._socket, None, _PROBE_S):
                return True
        except faults.FOREIGN:
            return False


def _socket_of(host: str) -> str:
    scheme, found, path = host.partition("://")
    if not found or scheme != "unix" or not path.startswith("/"):
        raise EngineError(
            f"the Docker engine must be on this host, at a socket such as {DEFAULT_HOST}, not at {host!r}",
            hint="set DOCKER_HOST to a unix:// address, or unset it",
        )
    return path


def _epoch(written: str) -> float | None:
    """Seconds since the epoch of an RFC 3339 time with nanoseconds, as engines write it; None when it is none."""
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", written)).timestamp()
    except ValueError:
        return None
