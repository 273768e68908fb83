"""The files that `init` writes: templates of the package, and the folder they go to."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Final

from backstay.domain.init import Fate, Wanted, fate
from backstay.errors import UsageError

SCRIPTS: Final = (
    "pre-deployment-check.sh",
    "pre-deploy-backup.sh",
    "smoke-tests.sh",
    "deployment-rollback.sh",
    "deployment-notifications.sh",
)
SCRIPTS_FOLDER: Final = ".github/scripts"


def template(name: str) -> bytes:
    """A template of the package, by its path below `templates`."""
    return (files("backstay") / "templates" / name).read_bytes()


def scripts() -> list[Wanted]:
    """The five scripts, where GitHub workflows look for them."""
    return [Wanted(f"{SCRIPTS_FOLDER}/{name}", template(f"github/{name}"), 0o755) for name in SCRIPTS]


def repository(start: Path) -> Path:
    """The root of the git repository around `start`; `start` itself outside of one."""
    return next((folder for folder in (start, *start.parents) if (folder / ".git").exists()), start)


def write(folder: Path, wanted: Sequence[Wanted], *, force: bool) -> list[tuple[str, Fate]]:
    """Write all files, each whole or not at all; path and fate of each.

    Nothing is written when one of them would have to be replaced without `force`. Raises UsageError for that, and
    for a folder that cannot be written to.
    """
    fates = [(file, fate(file, _existing(folder / file.path), force=force)) for file in wanted]
    refused = [file.path for file, decided in fates if decided is Fate.REFUSED]
    if refused:
        raise UsageError(
            f"there already, and different, in {folder}: {', '.join(refused)}",
            hint="--force replaces them; move aside first what you want to keep",
            state="nothing was written",
        )
    for file, decided in fates:
        path = folder / file.path
        with _told(path):
            if decided is not Fate.UNCHANGED:
                path.parent.mkdir(parents=True, exist_ok=True)
                _replace(path, file)
            elif (path.stat().st_mode & 0o777) != file.mode:
                path.chmod(file.mode)
    return [(file.path, decided) for file, decided in fates]


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet. Raises UsageError when it is, whatever it holds."""
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("x", encoding="utf-8") as out:
                out.write(text)
        except FileExistsError:
            raise UsageError(
                f"{path} is there already, and is never overwritten",
                hint="backstay config check looks for faults in it; move it aside to begin anew",
                state="nothing was written",
            ) from None


def _existing(path: Path) -> bytes | None:
    with _told(path):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None


def _replace(path: Path, file: Wanted) -> None:
    """Beside it first, then in its place, so that no half-written script is ever run."""
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(number, "wb") as out:
            out.write(file.content)
            out.flush()
            os.fchmod(out.fileno(), file.mode)
            os.fsync(out.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn an OSError about `path` into a UsageError that people can act on."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}",
            hint=f"{path.parent} must be a folder that you may write to",
            state="files written before this one stay",
        ) from error
