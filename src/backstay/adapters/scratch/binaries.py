"""The server's own programs on this host, and the user it may run as."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from backstay.errors import DatabaseError

DEBIAN_BINARIES: Final = Path("/usr/lib/postgresql")
_MAJOR: Final = re.compile(r"\b(\d+)")


def find(major: int) -> Path:
    """The folder with `postgres` and `initdb` of exactly this major version. DatabaseError names the package."""
    seen = []
    for folder in _places(major):
        have = _major(folder / "postgres")
        if have == major:
            return folder
        seen.append(str(have))
    there = f"only version {', '.join(sorted(set(seen)))} is" if seen else "none is"
    raise DatabaseError(
        f"a scratch server of PostgreSQL {major} is needed, but {there} installed here",
        hint=f"apt-get install postgresql-{major}, or name an image: database.scratch: container:postgres:{major}",
    )


def _places(major: int) -> Iterator[Path]:
    for folder in (DEBIAN_BINARIES / str(major) / "bin", *_on_path()):
        if (folder / "postgres").is_file() and (folder / "initdb").is_file():
            yield folder


def _on_path() -> Iterator[Path]:
    """Where `initdb` is on PATH; Debian's are no more than links to a wrapper, so the real place is looked up."""
    found = shutil.which("initdb")
    if found is not None:
        yield Path(found).parent
        yield Path(found).resolve().parent


def _major(program: Path) -> int:
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = _MAJOR.search(said.stdout)
    return int(found[1]) if found else 0


@dataclass(frozen=True, slots=True)
class Identity:
    """An unprivileged user of this host; PostgreSQL refuses to run as root."""

    uid: int
    gid: int

    @property
    def as_words(self) -> dict[str, Any]:
        """In the words of `subprocess`."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, folder: Path) -> None:
        """Make the folder and all in it theirs."""
        os.chown(folder, self.uid, self.gid)
        for place, folders, files in os.walk(folder):
            for name in (*folders, *files):
                os.chown(Path(place) / name, self.uid, self.gid, follow_symlinks=False)


def identity() -> Identity | None:
    """Whom the server runs as: None for ourselves; as root `postgres`, or `nobody` where there is no such user."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    found = known.get("postgres") or known.get("nobody")
    if found is None:
        raise DatabaseError(
            "PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody",
            hint="useradd --system postgres",
        )
    return Identity(found.pw_uid, found.pw_gid)
