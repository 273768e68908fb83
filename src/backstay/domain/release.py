"""A release: one version of every component, pinned to image digests, and immutable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Health:
    """How a component shows that it is ready: an HTTP path that answers 200–399. Times in seconds."""

    path: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)
    deadline_s: float = 120.0
    interval_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Component:
    """One component of a release, with everything needed to start it again years later except secret values.

    `digest` is the registry's manifest digest (`sha256:…`), `image` the repository without tag, `memory` bytes.
    For the process engine `image` is the absolute folder of a release with {version} in it, `digest` its hash.
    """

    name: str
    image: str
    version: str
    digest: str
    port: int
    health: Health = field(default_factory=Health)
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    migrate: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    memory: int | None = None
    stop_grace_s: float = 10.0

    @property
    def reference(self) -> str:
        """`repo:tag@sha256:…`, or `/folder@sha256:…`: what people read and what the digest pins."""
        if "{version}" in self.image:
            return f"{self.image.replace('{version}', self.version)}@{self.digest}"
        return f"{self.image}:{self.version}@{self.digest}"


@dataclass(frozen=True, slots=True)
class Route:
    """Requests whose path starts with `path` go to `component`; the longest path wins."""

    path: str
    component: str


@dataclass(frozen=True, slots=True)
class Release:
    """Version, image digest per component and routes. Two releases with the same content are the same release."""

    app: str
    version: str
    components: Mapping[str, Component]
    routes: tuple[Route, ...]

    @property
    def id(self) -> str:
        """Content hash over digests, component keys and routes: not over policy, router or secrets."""
        content = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return "r" + hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def migrating(self) -> tuple[Component, ...]:
        """The components that bring a migration command."""
        return tuple(c for c in self.components.values() if c.migrate)

    def component_for(self, path: str) -> Component | None:
        """The component that serves `path`, or None when no route does."""
        fitting = [route for route in self.routes if serves(route.path, path)]
        if not fitting:
            return None
        return self.components[max(fitting, key=lambda route: len(route.path)).component]

    def with_components(self, others: Mapping[str, Component]) -> Release:
        """This release with some components taken from elsewhere; the version says so."""
        components = {**self.components, **others}
        return replace(self, components=components, version=compose_version(self.version, components))


def serves(prefix: str, path: str) -> bool:
    """Whether a route with `prefix` takes requests for `path`: whole path segments, so /api does not take /apix."""
    if prefix.endswith("/"):
        return path.startswith(prefix) or path == prefix[:-1]
    return path == prefix or path.startswith(prefix + "/")


def compose_version(version: str, components: Mapping[str, Component]) -> str:
    """A readable version for a mix: `v2` when all agree, else `v2+backend@v1`."""
    base = version.partition("+")[0]
    versions = {c.version for c in components.values()}
    if len(versions) == 1:
        return versions.pop()
    strays = sorted(f"{c.name}@{c.version}" for c in components.values() if c.version != base)
    return "+".join([base, *strays])
