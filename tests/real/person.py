"""A person who is not root, with a name, a home and the right to use the engine: as most who deploy by SSH."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.shop import Shop

UID = 64242
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class PersonsShop(Shop):
    """A shop whose commands this person runs. Everything in `folder`, the state too, is theirs."""

    def __enter__(self) -> Self:
        super().__enter__()
        for name in ("passwd", "group"):
            fields = (
                f"deploy:x:{UID}:{UID}::{self.folder}:/bin/sh" if name == "passwd" else f"deploy:x:{UID}:"
            )
            (self.folder / name).write_text(Path("/etc", name).read_text() + fields + "\n")
        shutil.copytree(super().env["DOCKER_CONFIG"], self.folder / "client")
        (self.folder / "docker.sock").touch()
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, UID, UID)
        return self

    def configure(self, **changes: Any) -> None:
        super().configure(**changes)
        os.chown(self.folder / "backstay.yml", UID, UID)

    @property
    def env(self) -> dict[str, str]:
        return {
            **super().env,
            "HOME": str(self.folder),
            "DOCKER_HOST": f"unix://{self.folder}/docker.sock",
            "DOCKER_CONFIG": str(self.folder / "client"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def argv(self, *words: str) -> list[str]:
        """In a mount namespace of its own: there the person is known, and may pass to Python and to this checkout."""
        who = f"exec setpriv --reuid={UID} --regid={UID} --groups=0 --bounding-set=-all --no-new-privs"
        script = "\n".join([*self._binds(), *_openings([Path(sys.base_prefix), ROOT]), f'{who} -- "$@"'])
        private = ["unshare", "--mount", "--propagation", "private"]
        return [*private, "bash", "-ec", script, "as-deploy", *super().argv(*words)]

    def _binds(self) -> list[str]:
        socket = self.world.env()["DOCKER_HOST"].removeprefix("unix://")
        pairs = [(socket, self.folder / "docker.sock")]
        pairs += [(str(self.folder / name), Path("/etc", name)) for name in ("passwd", "group")]
        return [shlex.join(["mount", "--bind", source, str(target)]) for source, target in pairs]


def _openings(needed: list[Path]) -> list[str]:
    """Shell lines that lay an open folder, with just the path to what is needed, over each closed one above it."""
    closed = {path: above for path in needed if (above := _first_closed(path)) is not None}
    if not closed:
        return []
    lines = ["stage=$(mktemp -d)", 'mount -t tmpfs none "$stage"']
    for number, path in enumerate(closed):
        lines.append(f'mkdir "$stage/{number}"; mount --bind {shlex.quote(str(path))} "$stage/{number}"')
    lines += [
        f"mount -t tmpfs -o mode=755 none {shlex.quote(str(above))}" for above in sorted(set(closed.values()))
    ]
    for number, path in enumerate(closed):
        there = shlex.quote(str(path))
        lines.append(f'mkdir -p {there}; mount --bind "$stage/{number}" {there}')
    return [*lines, 'umount -l "$stage"; rmdir "$stage"']


def _first_closed(path: Path) -> Path | None:
    return next(
        (above for above in [*reversed(path.parents), path] if not above.stat().st_mode & 0o001), None
    )
