"""The application's database, and the dumps made of it, through PostgreSQL's own tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from backstay.domain.backup import BackupKind, BackupLimits, BackupProgress
from backstay.domain.content import Content
from backstay.domain.room import Reach
from backstay.domain.secret import Secret
from backstay.domain.server import ServerFacts
from backstay.errors import DatabaseError


class NameTaken(DatabaseError):
    """Another backup has this name already, or is being made under it."""


class MalformedUrl(DatabaseError):
    """The database URL is none; nothing was asked of any database."""

    exit_status = 2


class Damaged(DatabaseError):
    """What lies on the disk is not what was written there: a file is missing, short, changed or another's. The message
    names the file and says in which way."""


class PagesDamaged(DatabaseError):
    """The server's own files are damaged: what it sends fails its own checksums. No backup can be better than that; the
    ones from before must be kept."""


class InUse(DatabaseError):
    """A backup that is being read (restored, verified) is not removed."""


class NotEmpty(DatabaseError):
    """A restore goes into an empty database only; this one holds something."""


def _never() -> bool:
    return False


def _silent(_: BackupProgress) -> None:
    return


@dataclass(frozen=True, slots=True)
class DumpOrder:
    """What to dump: `url`, into files in `folder` (made when missing) that begin with `name`.

    `about` goes into the manifest as it is (application, environment …). `stopped` is asked, and `tell` told how
    far it is, a few times per second. `kind` None leaves the choice to what the role may do. `checksums`: take rows and
    checksums of every table in the dump's own snapshot. `recipients`: age keys; none leaves the dump in clear.
    `expected_read`: bytes that the last dump read, for an estimate; `expected_bytes`: bytes that lie on the disk
    of it: with less than half as much again free, none is begun.
    """

    url: Secret
    folder: Path
    name: str
    about: Mapping[str, str] = field(default_factory=dict)
    limits: BackupLimits = field(default_factory=BackupLimits)
    stopped: Callable[[], bool] = _never
    tell: Callable[[BackupProgress], None] = _silent
    kind: BackupKind | None = BackupKind.LOGICAL
    checksums: bool = True
    recipients: tuple[str, ...] = ()
    expected_read: int | None = None
    expected_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Dump:
    """A finished dump: absolute path, bytes on disk, SHA-256 as hex, and what people should know (`notes`).

    `read` is how many bytes came out of the database, None where nobody counted; `took_s` how long it took.
    `same_disk`: whether the server's files lie on the same disk, None where nobody can tell. `facts`
    None only in doubles.
    """

    path: Path
    bytes: int
    sha256: str
    notes: tuple[str, ...] = ()
    kind: BackupKind = BackupKind.LOGICAL
    content: Content | None = None
    encrypted: bool = False
    facts: ServerFacts | None = None
    read: int | None = None
    took_s: float = 0.0
    same_disk: bool | None = None


@dataclass(frozen=True, slots=True)
class CopyOrder:
    """Copy a dump elsewhere by `command`, in which {path} is a folder with all its files and {name} its name. `env` is
    added to our own environment."""

    dump: Path
    command: tuple[str, ...]
    env: Mapping[str, Secret] = field(default_factory=dict)
    deadline_s: float = 7200.0
    stopped: Callable[[], bool] = _never


@dataclass(frozen=True, slots=True)
class RestoreOrder:
    """Restore the logical `dump` into the existing, empty database at `into`, with `jobs` connections (0: two per
    processor, at most 8).

    `roles`: first make those roles of the source that the target lacks (a scratch server of our own); without it, and
    where the source's roles are missing, set `owners` False: everything then belongs to the role of `into`, and no
    grants are restored. `subscriptions`: bring those of logical replication along, disabled: such a database cannot be
    dropped before they are. `properties`: give the database the settings and the comment of the source, and with
    `owners` the rights on it; one that has those of a live database already needs none. `analyze`: collect statistics
    afterwards, which no dump before version 18 has. `identity`: the age identity of an encrypted dump. `sha256`: what
    the catalog says the dump has.
    """

    dump: Path
    into: Secret
    limits: BackupLimits = field(default_factory=BackupLimits)
    jobs: int = 0
    roles: bool = False
    owners: bool = True
    subscriptions: bool = False
    properties: bool = False
    analyze: bool = False
    identity: Secret | None = None
    sha256: str | None = None
    stopped: Callable[[], bool] = _never
    tell: Callable[[BackupProgress], None] = _silent


class Database(Protocol):
    """Raises DatabaseError."""

    def dump(self, order: DumpOrder) -> Dump:
        """Write a complete dump, its manifest and the server's globals, and read them back from the disk.

        A failed or stopped one leaves no file. Raises NameTaken, MalformedUrl, DatabaseError.
        """

    def examine(self, dump: Path, sha256: str | None = None) -> None:
        """Read all of it and compare sizes and SHA-256 of every file with the manifest, and the manifest with its own
        seal, and with `sha256` of the catalog when given. Raises Damaged. No restore is proof of more, and this of
        less: that the bytes are those that were written, not that they are a good backup."""

    def manifest(self, dump: Path) -> Mapping[str, Any]:
        """The manifest of a dump: `content` (see `content_of`), `database` (the server's facts), `files`, `kind` …
        Raises Damaged when it is missing or not whole."""

    def content_of(self, dump: Path) -> Content | None:
        """What was in the database when it was dumped, from the manifest; None when it was not taken. Raises
        Damaged."""

    def restore(self, order: RestoreOrder) -> tuple[str, ...]:
        """Examine a logical dump, then restore it; whole, or DatabaseError, and then what `into` holds is of no use.
        Raises Damaged and NotEmpty before anything was written. Returns which `properties` the database was not given,
        and why, for people."""

    def unpack(
        self,
        dump: Path,
        into: Path,
        identity: Secret | None = None,
        *,
        sha256: str | None = None,
        limits: BackupLimits | None = None,
        stopped: Callable[[], bool] = _never,
    ) -> None:
        """Examine a physical dump and make the data folder of a server of it: `into` (made, mode 0700, owned by us),
        checked by pg_verifybackup against the list that the source server made. A server started on it recovers to the
        end of the backup. Raises Damaged, and then nothing is left of `into`."""

    def copy(self, order: CopyOrder) -> None:
        """Copy a dump elsewhere. DatabaseError with the command's exit status and words when it fails; the dump itself
        stays as it is in any case. NameTaken while another process copies it."""

    def content(self, url: Secret, deadline_s: float, *, helpers: int = 0) -> Content:
        """What is in a database now, in one snapshot. With `helpers` the server may use so many processors more than
        one, for which nobody but us must need it."""

    def facts(self, url: Secret) -> ServerFacts:
        """What the server says about itself and the database."""

    def size_of(self, dump: Path) -> int | None:
        """Bytes of the files of a dump now; None when it is missing. Only looks."""

    def reading(self, dump: Path) -> AbstractContextManager[None]:
        """While the block runs nobody removes the dump. Many may read it at once. Raises Damaged when it is gone."""

    def is_read(self, dump: Path) -> bool:
        """Whether somebody reads it just now."""

    def removal(self, dump: Path) -> AbstractContextManager[None]:
        """Remove a dump with what lies beside it when the block ended well. Raises InUse while somebody reads it."""

    def discard(self, dump: Path) -> None:
        """Remove a dump with what lies beside it; what is gone already is no fault."""

    def sweep(self, folder: Path) -> list[str]:
        """Remove from `folder` what writers that died left there; names of what was removed. What is being written
        stays, and so does what cannot be told apart or removed."""

    def reach(self, url: Secret, role: str, deadline_s: float) -> Reach:
        """Sign in and look; DatabaseError, within `deadline_s` seconds, when that cannot be done from here.

        `role` is whose connections count as the application's; the limits are its own and those of the database.
        """
