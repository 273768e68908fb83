"""An image with this host's PostgreSQL in it: the base image, and what the server's programs need."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from tests.world import World
from tests.world.commands import run

DOCKERFILE = """\
ARG BASE
FROM $BASE
COPY files /
RUN useradd --system --no-create-home --shell /usr/sbin/nologin postgres || true; ldconfig
CMD ["postgres"]
"""
_LIBRARY = re.compile(r"=> (/\S+)")


def postgres_image(world: World) -> str:
    """The tag of the image; built once, as long as the engine keeps it."""
    binaries = Path(world.postgres.bin_dir)
    major = binaries.parent.name
    tag = f"backstay-test-postgres:{major}"
    if world.docker("images", "-q", tag).strip():
        return tag
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        (context / "Dockerfile").write_text(DOCKERFILE)
        for source in (
            binaries,
            Path(f"/usr/share/postgresql/{major}"),
            binaries.parent / "lib",
            *_libraries(binaries),
        ):
            target = context / "files" / (source.parent.resolve() / source.name).relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("bitcode", "llvm*", "pgxs"))
            else:
                shutil.copy(source, target)
        world.docker("build", "--build-arg", f"BASE={world.base_image}", "-t", tag, folder, seconds=300)
    return tag


def _libraries(binaries: Path) -> set[Path]:
    """The shared libraries of the programs, apart from those that every image has."""
    said = "".join(run(["ldd", binaries / name]) for name in ("postgres", "initdb"))
    found = {Path(path) for path in _LIBRARY.findall(said)}
    return {path for path in found if not path.name.startswith(("libc.", "libm.", "ld-"))}
