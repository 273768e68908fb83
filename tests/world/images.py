"""Builds images in the world's engine and pushes them to its registry."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.world.errors import WorldError
from tests.world.world import World

VERSIONS = ("v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8")
COMPONENTS = ("backend", "frontend")
SHOP = Path(__file__).resolve().parents[2] / "examples" / "shop"


@dataclass(frozen=True)
class Pushed:
    """An image in the registry: by tag, and by the digest of its manifest."""

    repository: str
    tag: str
    digest: str

    @property
    def by_tag(self) -> str:
        return f"{self.repository}:{self.tag}"

    @property
    def by_digest(self) -> str:
        return f"{self.repository}@{self.digest}"


def build(world: World, context: Path, tag: str, build_args: Mapping[str, str]) -> Pushed:
    """Build ``context`` as ``REGISTRY/tag`` (such as ``shop-backend:v1``) and push it.

    Builds reach the machine's package index; a private certificate authority (PIP_CERT, SSL_CERT_FILE) is
    handed over as the build secret ``ca``. WorldError, with the last lines said, when a step fails.
    """
    name, _, version = tag.partition(":")
    if not version:
        raise WorldError(f"an image needs a tag of its own: {tag!r}")
    pushed_name = f"{world.registry.address}/{tag}"
    arguments = [word for key, value in build_args.items() for word in ("--build-arg", f"{key}={value}")]
    words = ["build", "--progress=plain", *_secret(), *arguments, "-t", pushed_name, str(context)]
    with _one_at_a_time(world):
        world.docker(*words, seconds=900)
        return push(world, name, version)


def push(world: World, name: str, version: str) -> Pushed:
    """Push ``REGISTRY/name:version``, which the engine has; returns it with its manifest digest."""
    repository = f"{world.registry.address}/{name}"
    world.docker("push", "--quiet", f"{repository}:{version}", seconds=300)
    listed = world.docker("image", "inspect", "--format", "{{json .RepoDigests}}", f"{repository}:{version}")
    digests = [entry.partition("@")[2] for entry in json.loads(listed) if entry.startswith(f"{repository}@")]
    if len(digests) != 1:
        raise WorldError(f"one manifest digest was expected for {repository}:{version}, not {digests}")
    return Pushed(repository, version, digests[0])


def shop(world: World, say: Callable[[str], None] | None = None) -> dict[str, dict[str, Pushed]]:
    """Build and push every version of the example shop: ``{"backend": {"v1": …}, "frontend": {…}}``.

    The versions differ in their last layers only; everything below is built once.
    """
    made: dict[str, dict[str, Pushed]] = {component: {} for component in COMPONENTS}
    for component in COMPONENTS:
        for version in VERSIONS:
            arguments = {"BASE": world.base_image, "VERSION": version}
            pushed = build(world, SHOP / component, f"shop-{component}:{version}", arguments)
            made[component][version] = pushed
            if say is not None:
                say(f"{pushed.by_tag} {pushed.digest}")
    return made


@contextmanager
def _one_at_a_time(world: World) -> Iterator[None]:
    """Several processes share a run of the tests: the first one builds, the others find it done."""
    with (world.layout.folder / "images.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _secret() -> list[str]:
    bundle = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    return ["--secret", f"id=ca,src={bundle}"] if bundle else []
