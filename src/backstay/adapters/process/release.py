"""The folder of a release: what a registry and an image are to a container engine.

Its digest is a hash of what lies in it: names, contents, links and who may execute what. `__pycache__` is left
out, because running a release writes it.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from backstay.errors import EngineError, RegistryError

VERSION: Final = "{version}"
_ALLOWED: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_LEFT_OUT: Final = "__pycache__"


@dataclass(frozen=True, slots=True)
class Release:
    """A folder, the version it holds and the digest (`sha256:…`) it had when the version was pinned."""

    folder: Path
    version: str
    digest: str

    @property
    def reference(self) -> str:
        """The whole as one text, which the engine takes for an image."""
        return f"{self.folder}:{self.version}@{self.digest}"

    @classmethod
    def parse(cls, reference: str) -> Self:
        """What `reference` wrote; EngineError for anything else."""
        rest, _, digest = reference.rpartition("@")
        folder, _, version = rest.rpartition(":")
        if not folder.startswith("/") or not version or not digest.startswith("sha256:"):
            raise EngineError(f"{reference!r} is not a release folder of the process engine")
        return cls(Path(folder), version, digest)


def look_up(workdir: str, version: str) -> Release:
    """The release `version`, whose folder is `workdir` with {version} filled in, hashed as it is now.

    Raises RegistryError when the version is no folder name, or the folder is missing or cannot be read whole.
    """
    if not _ALLOWED.fullmatch(version):
        raise RegistryError(
            f"version {version!r} cannot be part of a folder's name",
            hint="use letters, digits, dots, dashes and underscores; the first a letter, digit or underscore",
        )
    folder = Path(workdir.replace(VERSION, version))
    if not folder.is_dir():
        raise RegistryError(
            f"there is no release folder {folder}",
            hint=f"put version {version} there, or mend workdir in backstay.yml",
        )
    try:
        return Release(folder, version, _digest(folder))
    except OSError as error:
        raise RegistryError(
            f"the release folder {folder} cannot be read: {error.filename}: {error.strerror}",
            hint="every file of a release must be readable by whoever deploys it",
        ) from error


def with_digest(workdir: str, digest: str) -> Release | None:
    """The version whose folder has `digest` now; None when none has."""
    before, _, after = workdir.partition(VERSION)
    after = after.partition("/")[0]
    for folder in sorted(glob.glob(f"{glob.escape(before)}*{glob.escape(after)}")):  # noqa: PTH207 - it is absolute
        version = folder.removeprefix(before).removesuffix(after)
        with contextlib.suppress(RegistryError):
            if (found := look_up(workdir, version)).digest == digest:
                return found
    return None


def _digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for path in _entries(folder):
        whole.update(os.fsencode(path.relative_to(folder)) + b"\0" + _told(path) + b"\n")
    return f"sha256:{whole.hexdigest()}"


def _entries(folder: Path) -> Iterator[Path]:
    """Everything below `folder`, in an order that depends on names alone; links are not followed."""
    for path in sorted(folder.iterdir()):
        if path.name == _LEFT_OUT:
            continue
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _entries(path)


def _told(path: Path) -> bytes:
    """Kind and content of one entry, in a form that no other entry has."""
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return b"link " + os.fsencode(path.readlink())
    if stat.S_ISDIR(mode):
        return b"folder"
    if not stat.S_ISREG(mode):
        raise OSError(0, "is neither file, folder nor link", str(path))
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return (b"program " if mode & stat.S_IXUSR else b"file ") + content.encode()
