"""Images of a few bytes, for tests of the registry that need no program inside."""

from __future__ import annotations

import io
import secrets
import subprocess
import tarfile
from dataclasses import dataclass

from tests.world import World


@dataclass(frozen=True)
class Tiny:
    """An image in the world's registry; nothing of it is in the engine any more."""

    repository: str
    version: str
    digest: str


def push(world: World, platform: str | None = None) -> Tiny:
    """Make an image that no test had before, push it, and forget it locally; built for `platform`, or for ours."""
    repository = f"{world.registry.address}/tiny-{secrets.token_hex(4)}"
    reference = f"{repository}:v1"
    if platform is None:
        words = ["import", "-", reference]
    else:
        words = ["build", "-q", "--platform", platform, "-t", reference, "-"]
    subprocess.run(
        ["/usr/bin/docker", *words], input=_archive(), env=world.env(), check=True, capture_output=True
    )
    said = world.docker("push", reference)
    world.docker("rmi", reference)
    digest = next(word for word in said.split() if word.startswith("sha256:"))
    return Tiny(repository, "v1", digest)


def forget(world: World, tiny: Tiny) -> None:
    """Remove what pulls of it left in the engine."""
    ids = {line.split()[0] for line in _listed(world) if tiny.digest in line}
    if ids:
        world.docker("rmi", "-f", *ids)


def _listed(world: World) -> list[str]:
    return world.docker("images", "--digests", "--no-trunc", "--format", "{{.ID}} {{.Digest}}").splitlines()


def _archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in (
            ("content", secrets.token_bytes(32)),
            ("Dockerfile", b"FROM scratch\nCOPY content /\n"),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
