"""Where a store lies, and whether that place can hold one."""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from backstay.adapters.store.server.address import SCHEMES, Server, server_of
from backstay.errors import StoreError, UsageError

Location = str | Path | Server

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700
MOUNTS: Final = Path("/proc/self/mountinfo")

# SQLite's locks and shared memory do not hold between hosts: two deployments would both believe to be alone.
NETWORK_FILE_SYSTEMS: Final = frozenset(
    {
        *(
            "9p",
            "afs",
            "beegfs",
            "ceph",
            "cifs",
            "coda",
            "davfs",
            "gfs",
            "gfs2",
            "glusterfs",
            "gpfs",
            "lustre",
        ),
        *("ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "smb3", "smbfs", "fuse.beegfs", "fuse.ceph"),
        *("fuse.curlftpfs", "fuse.davfs", "fuse.davfs2", "fuse.gcsfuse", "fuse.glusterfs", "fuse.juicefs"),
        *("fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
    }
)


def located(location: Location) -> Path | Server:
    """The absolute path of the file, or the server, that a path, `sqlite:///PATH` or `postgresql+psycopg://…` names.

    UsageError, which shows no password, for anything else.
    """
    if isinstance(location, Server):
        return location
    text = str(location)
    scheme, is_url, _ = text.partition("://")
    if is_url and scheme in SCHEMES:
        return server_of(text)
    if text.startswith("sqlite:///"):
        text = unquote(text.removeprefix("sqlite:///"))
    elif is_url:
        raise UsageError(
            f"a state store cannot be kept at a {scheme}:// URL",
            hint="set BACKSTAY_STORE (or `store:`) to a path, or to postgresql+psycopg://USER:PASSWORD@HOST/DATABASE",
        )
    if not text or text.endswith("/"):
        raise UsageError(
            f"{text!r} does not name a file for the state store", hint="name a file, such as state.db"
        )
    return Path(text).expanduser().absolute()


def is_open(place: Path | Server) -> bool:
    """Whether this process has the store open: a copy of this process would not see its locks, or share its sockets."""
    if isinstance(place, Server):
        connection = sys.modules.get("backstay.adapters.store.server.connection")
        return connection is not None and connection.open_connections() > 0
    links = (entry for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink())
    return any(link.readlink() == place.resolve() for link in links)


def refuse_network_file_system(path: Path, mounts: Path = MOUNTS) -> None:
    """StoreError when `path` lies or would lie on a network file system, where the kernel tells."""
    try:
        table = mounts.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return
    kind = file_system_of(Path(os.path.realpath(path)), table)
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"the state store {path} is on a network file system ({kind}), where file locks do not hold",
            hint="set BACKSTAY_STORE (or `store:`) to a path on a local disk of the control host",
        )


def file_system_of(path: Path, table: str) -> str | None:
    """The type of the file system that holds the real path `path`, by the kernel's mount `table`."""
    found: tuple[int, str] | None = None
    for line in table.splitlines():
        before, dash, after = line.partition(" - ")
        words = before.split(" ")
        if not dash or len(words) < 5:
            continue
        mounted = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), words[4]))
        # On equal depth the later line wins: it was mounted over the earlier one.
        if path.is_relative_to(mounted) and (found is None or len(mounted.parts) >= found[0]):
            found = len(mounted.parts), after.split(" ")[0]
    return found[1] if found else None


def make_folder(path: Path) -> None:
    """Make the folder of the store, for its owner alone; one that is there already keeps its mode."""
    try:
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the folder of the state store, {path.parent}, cannot be made: {error.strerror}",
            hint="set BACKSTAY_STORE (or `store:`) to a path this user may write",
        ) from error


def is_empty(path: Path) -> bool:
    """Whether there is no store at `path`: no file, or one without a byte. Raises StoreError as `look_at`."""
    have = look_at(path)
    return have is None or have.st_size == 0


def look_at(path: Path) -> os.stat_result | None:
    """What the file system knows of `path`, None when nothing is there. StoreError when it is not a file."""
    try:
        have = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(
            f"the state store {path} cannot be looked at: {error.strerror}",
            hint="run Backstay as the user who owns the store",
        ) from error
    if not stat.S_ISREG(have.st_mode):
        raise StoreError(
            f"the state store {path} cannot be opened: it is not a file",
            hint="set BACKSTAY_STORE (or `store:`) to a file, such as state.db in that folder",
        )
    return have
