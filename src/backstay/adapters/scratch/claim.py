"""Claims: which scratch server is whose, written before anything is made, and locked for as long as its owner lives.

A claim is a file `NAME.claim` that its owner keeps locked; `NAME` beside it is the folder of that server. The kernel
gives the lock back when the owner dies, however it dies. So whoever gets the lock of a claim may clear up after it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from backstay.errors import DatabaseError

SUFFIX: Final = ".claim"


@dataclass(frozen=True, slots=True)
class Claimed:
    """What is claimed: for which environment, and where the server runs, so that any process of ours can remove it."""

    app: str
    environment: str
    name: str
    where: str


class Claim:
    """A claim that this process holds."""

    def __init__(self, path: Path, handle: int, what: Claimed) -> None:
        self._path = path
        self._handle = handle
        self.what = what

    @property
    def folder(self) -> Path:
        """The server's own folder, made when asked for first: its owner's alone."""
        folder = self._path.with_suffix("")
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def give_back(self) -> None:
        """Remove the folder and the claim. Raises DatabaseError, and keeps the claim, when something will not go."""
        if not self._handle:
            return
        remove_tree(self._path.with_suffix(""))
        self._path.unlink(missing_ok=True)
        os.close(self._handle)
        self._handle = 0


def take(root: Path, what: Claimed) -> Claim:
    """Claim a name in `root`, the folder of all scratch servers. DatabaseError when it is taken."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = root / f"{what.name}{SUFFIX}"
    while True:
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise DatabaseError(
                f"there is a scratch server {what.name} already", hint="wait until its owner has ended"
            ) from None
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            break
        os.close(handle)  # a sweep came between the making and the locking
    os.write(handle, json.dumps(asdict(what)).encode())
    os.fsync(handle)
    return Claim(path, handle, what)


def abandoned(root: Path) -> Iterator[Claim]:
    """The claims whose owners died, locked by us now. Those without content stand for nothing, and go at once."""
    for path in sorted(root.glob(f"*{SUFFIX}")):
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not os.fstat(handle).st_nlink:
                    continue
                what = _read(handle)
                if what is None:
                    path.unlink()
                    continue
                claim = Claim(path, handle, what)
                handle = 0
            finally:
                if handle:
                    os.close(handle)
            yield claim


def held(root: Path) -> Iterator[Claimed]:
    """What living owners hold, our own claims included."""
    for path in sorted(root.glob(f"*{SUFFIX}")):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                what = _read(file.fileno())
                if what is not None:
                    yield what


def let_be(claim: Claim) -> None:
    """Give the lock of an abandoned claim back and leave everything as it is."""
    os.close(claim._handle)
    claim._handle = 0


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it; nothing happens when it is gone. DatabaseError when it will not go."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        if folder.exists():  # something in it went meanwhile: once more
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise DatabaseError(
            f"cannot remove {error.filename or folder}: {error.strerror}", hint=f"rm -r {folder}"
        ) from error


def _read(handle: int) -> Claimed | None:
    written = os.pread(handle, 1 << 16, 0)
    with contextlib.suppress(ValueError, TypeError):
        found: dict[str, Any] = json.loads(written)
        return Claimed(**found)
    return None
