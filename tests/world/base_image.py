"""The image that every test image starts from: a minimal Debian or Ubuntu, from the machine's own sources.

Nothing is pulled from a public image registry. The result is kept compressed in the user's cache folder,
under a name that changes with the recipe.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import tempfile
from pathlib import Path

from tests.world.commands import clean_environment, run, tool
from tests.world.errors import WorldError
from tests.world.layout import cache_folder

PACKAGES = ("ca-certificates", "nginx-light", "python3", "python3-pip", "python3-venv")
OPTIONS = (
    "--mode=root",
    "--variant=minbase",
    "--aptopt=APT::Sandbox::User root",
    *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("man", "doc", "locale")),
)
SOURCES = ("sources.list.d/debian.sources", "sources.list.d/ubuntu.sources", "sources.list")
CHANGES = ('CMD ["/bin/sh"]', "ENV LANG=C.UTF-8", "ENV PYTHONUNBUFFERED=1")


def codename() -> str:
    """The release this machine runs, such as ``bookworm``."""
    release = platform.freedesktop_os_release()
    name = release.get("VERSION_CODENAME")
    if not name:
        raise WorldError("this machine's /etc/os-release names no release; Debian or Ubuntu is needed")
    return name


def image_name() -> str:
    return f"backstay-dev/base:{codename()}"


def provide(name: str, env: dict[str, str], scratch: Path) -> str:
    """Import the base image into the engine that ``env`` names; says where it came from.

    Raises WorldError when it can neither be made nor imported.
    """
    sources = _sources()
    kept = cache_folder() / f"base-{_key(sources)}.tar.zst"
    if kept.is_file():
        try:
            _import(kept, name, env)
        except WorldError as damaged:
            kept.unlink()
            made = _make_and_import(sources, kept, name, env, scratch)
            return f"{made}; the cached one was unusable: {damaged}"
        return "from the cache"
    return _make_and_import(sources, kept, name, env, scratch)


def _make_and_import(sources: Path, kept: Path, name: str, env: dict[str, str], scratch: Path) -> str:
    fresh = scratch / "base.tar.zst"
    _make(sources, fresh, scratch)
    _import(fresh, name, env)
    try:
        _keep(fresh, kept)
    except OSError as unwritable:
        return f"made anew, not cached ({unwritable})"
    finally:
        fresh.unlink(missing_ok=True)
    return "made anew"


def _make(sources: Path, target: Path, scratch: Path) -> None:
    raw = scratch / "base.tar"
    include = "--include=" + ",".join(PACKAGES)
    argv: list[str | Path] = [tool("mmdebstrap"), *OPTIONS, include, codename(), raw, sources]
    run(argv, env={"TMPDIR": str(scratch)}, seconds=1800)
    run([tool("zstd"), "-q", "-T0", "-3", "--rm", raw, "-o", target], seconds=300)


def _import(archive: Path, name: str, env: dict[str, str]) -> None:
    changes = [word for change in CHANGES for word in ("--change", change)]
    unpack = [tool("zstd"), "-dcq", str(archive)]
    with tempfile.TemporaryFile("w+") as said:
        source = subprocess.Popen(unpack, stdout=subprocess.PIPE, stderr=said, env=clean_environment())
        done = subprocess.run(
            [tool("docker"), "import", *changes, "-", name],
            stdin=source.stdout,
            stdout=said,
            stderr=said,
            env=clean_environment(env),
            timeout=300,
        )
        assert source.stdout is not None
        source.stdout.close()
        unpacked = source.wait(timeout=60)
        if done.returncode or unpacked:
            said.seek(0)
            raise WorldError(f"the base image cannot be imported: {said.read().strip()}")


def _keep(fresh: Path, kept: Path) -> None:
    """Copy into the cache: under another name first, so that a half-written file is never found."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=kept.parent, prefix=".base-", delete=False) as partial:
        try:
            with fresh.open("rb") as source:
                while block := source.read(1 << 20):
                    partial.write(block)
            partial.flush()
            os.fsync(partial.fileno())
            Path(partial.name).replace(kept)
        except BaseException:
            Path(partial.name).unlink(missing_ok=True)
            raise


def _sources() -> Path:
    for name in SOURCES:
        path = Path("/etc/apt") / name
        if path.is_file() and any(
            line.startswith(("deb", "Types:")) for line in path.read_text().splitlines()
        ):
            return path
    raise WorldError("no package source of this Debian or Ubuntu machine was found below /etc/apt")


def _key(sources: Path) -> str:
    recipe = [*PACKAGES, *OPTIONS, codename(), platform.machine(), sources.read_text()]
    return hashlib.sha256("\0".join(recipe).encode()).hexdigest()[:16]
