"""Files that appear whole or not at all: written under `.partial`, synced, read back, renamed.

The writer keeps its `.partial` locked. So another run can tell a file that is being written from one whose writer
died, and removes only the latter.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from backstay.errors import DatabaseError
from backstay.ports.database import NameTaken

SUFFIX: Final = ".partial"
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Written:
    """A file as it was read back from the disk: its final path, size in bytes, SHA-256 as hex."""

    path: Path
    bytes: int
    sha256: str


class Draft:
    """A file that is being written; it has its final name only after `settle`."""

    def __init__(self, target: Path, file: BinaryIO) -> None:
        self.target = target
        self.partial = target.with_name(target.name + SUFFIX)
        self._file = file
        self._digest = hashlib.sha256()
        self.written = 0
        self.is_settled = False
        self.fault: OSError | None = None

    def write(self, data: bytes) -> None:
        """Append, and hash what was meant to be written. Raises OSError, such as for a full disk."""
        self._file.write(data)
        self._digest.update(data)
        self.written += len(data)

    def seal(self) -> Written:
        """Bring it to the disk, drop it from memory, and read it back. DatabaseError when something else lies there."""
        self._file.flush()
        os.fsync(self._file.fileno())
        os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with self.partial.open("rb", buffering=0) as again:
            found = hashlib.file_digest(again, "sha256").hexdigest()
            size = os.fstat(again.fileno()).st_size
        if (found, size) != (self._digest.hexdigest(), self.written):
            raise DatabaseError(
                f"what {self.partial} holds is not what was written to it",
                hint="the disk or its controller is failing: look at the kernel log (dmesg)",
            )
        return Written(self.target, size, found)

    def settle(self) -> None:
        """Give it its name. The caller holds the only draft of it, so nothing of that name can be there."""
        self.partial.rename(self.target)
        self.is_settled = True

    def remove(self) -> None:
        """Take it away under whichever name it has."""
        (self.target if self.is_settled else self.partial).unlink(missing_ok=True)


class FolderDraft:
    """A folder that is being filled by somebody else's tool; it has its final name only after `settle`."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.partial = target.with_name(target.name + SUFFIX)
        self.is_settled = False

    def seal(self, name: str) -> Written:
        """Bring a file of it to the disk, drop it from memory, and read it back."""
        path = self.partial / name
        with path.open("rb", buffering=0) as file:
            os.fchmod(file.fileno(), 0o600)
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return Written(self.target / name, os.fstat(file.fileno()).st_size, digest)

    def settle(self) -> None:
        _sync_folder(self.partial)
        self.partial.rename(self.target)
        self.is_settled = True

    def remove(self) -> None:
        shutil.rmtree(self.target if self.is_settled else self.partial, ignore_errors=True)


@contextlib.contextmanager
def draft(target: Path) -> Iterator[Draft]:
    """A draft of `target`, mode 0600; unless it was settled, nothing of it is left when the block ends.

    Raises NameTaken when the file is there, or is being written by somebody else.
    """
    partial = target.with_name(target.name + SUFFIX)
    with _open_locked(partial) as file:
        made = Draft(target, file)
        try:
            if target.exists():
                raise NameTaken(f"{target} is there already", hint="try again")
            yield made
        finally:
            if not made.is_settled:
                made.remove()


@contextlib.contextmanager
def folder_draft(target: Path) -> Iterator[FolderDraft]:
    """A draft of a folder, mode 0700; unless it was settled, nothing of it is left when the block ends. Raises
    NameTaken."""
    made = FolderDraft(target)
    try:
        made.partial.mkdir(mode=0o700)
    except FileExistsError:
        raise NameTaken(f"{made.partial} is being written by another process", hint="try again") from None
    handle = os.open(made.partial, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if target.exists():
            raise NameTaken(f"{target} is there already", hint="try again")
        yield made
    finally:
        if not made.is_settled:
            made.remove()
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make it, and what is missing above it, for its owner alone; what is there keeps its mode. Raises OSError."""
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def sweep(folder: Path) -> list[str]:
    """Remove what writers that died left in `folder`, and tell its names; files that are being written stay."""
    removed = []
    for left in folder.glob(f"*{SUFFIX}"):
        with contextlib.suppress(OSError):
            handle = os.open(left, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if left.is_dir():
                    shutil.rmtree(left)
                else:
                    left.unlink()
                removed.append(left.name)
            finally:
                os.close(handle)
    return removed


def settle(drafts: Sequence[Draft | FolderDraft]) -> None:
    """Give sealed drafts of one folder their names, and bring those to the disk; all of them, or none is left.

    The last one is the sign that the others are there. Raises OSError.
    """
    try:
        for each in drafts:
            each.settle()
        _sync_folder(drafts[-1].target.parent)
    except BaseException:
        for each in drafts:
            if each.is_settled:
                each.remove()
        raise


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _open_locked(partial: Path) -> BinaryIO:
    while True:
        try:
            handle = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise NameTaken(f"{partial} is being written by another process", hint="try again") from None
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return os.fdopen(handle, "w+b", buffering=_CHUNK)
        os.close(handle)  # a sweep came between the making and the locking
