"""Implements the port: each method leads to the module that does it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from backstay.adapters.postgres import manifest as manifests
from backstay.adapters.postgres.connection import environment, password
from backstay.adapters.postgres.content import begin, take
from backstay.adapters.postgres.facts import ask_server
from backstay.adapters.postgres.files import sweep
from backstay.adapters.postgres.session import session
from backstay.adapters.postgres.tools import ANSWER_S
from backstay.adapters.postgres.watch import Watch
from backstay.domain.backup import BackupLimits
from backstay.domain.content import Content
from backstay.domain.room import Reach
from backstay.domain.secret import Secret, redact
from backstay.domain.server import ServerFacts
from backstay.errors import DatabaseError
from backstay.ports.database import CopyOrder, Dump, DumpOrder, InUse, RestoreOrder


class PostgresTools:
    """Implements ports.database.Database."""

    def reach(self, url: Secret, role: str, deadline_s: float) -> Reach:
        from backstay.adapters.postgres.reach import reach

        return reach(url, role, deadline_s)

    def dump(self, order: DumpOrder) -> Dump:
        from backstay.adapters.postgres.dump import dump

        with _hiding(order.url):
            return dump(order)

    def examine(self, dump: Path, sha256: str | None = None) -> None:
        with manifests.reading(dump):
            manifests.examine(dump, sha256)

    def manifest(self, dump: Path) -> Mapping[str, Any]:
        return manifests.read_manifest(dump)

    def content_of(self, dump: Path) -> Content | None:
        return manifests.content_in(manifests.read_manifest(dump), dump)

    def restore(self, order: RestoreOrder) -> tuple[str, ...]:
        from backstay.adapters.postgres.restore import restore

        with _hiding(order.into):
            return restore(order)

    def unpack(
        self,
        dump: Path,
        into: Path,
        identity: Secret | None = None,
        *,
        sha256: str | None = None,
        limits: BackupLimits | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        from backstay.adapters.postgres.base import unpack

        watch = Watch("unpacking", "tar", 0, limits or BackupLimits(), stopped, lambda _: None)
        try:
            unpack(dump, into, identity, watch, sha256)
        except OSError as error:
            raise DatabaseError(
                f"cannot unpack {dump.name} into {into}: {error.strerror or error}",
                hint="is there room on that disk?",
            ) from error

    def copy(self, order: CopyOrder) -> None:
        from backstay.adapters.postgres.copy import copy

        copy(order)

    def content(self, url: Secret, deadline_s: float, *, helpers: int = 0) -> Content:
        with _hiding(url), environment(url) as env, session(env, deadline_s) as asked:
            begin(asked, deadline_s, ANSWER_S)
            if helpers:
                asked.rows(f"SET LOCAL max_parallel_workers_per_gather = {int(helpers)}")
            return take(asked)

    def facts(self, url: Secret) -> ServerFacts:
        with _hiding(url), environment(url) as env:
            return ask_server(env)

    def sweep(self, folder: Path) -> list[str]:
        return sweep(folder)

    def size_of(self, dump: Path) -> int | None:
        try:
            if dump.is_dir():
                return sum(path.stat().st_size for path in dump.iterdir())
            return dump.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise DatabaseError(f"cannot look at {dump}: {error.strerror}") from error

    def reading(self, dump: Path) -> contextlib.AbstractContextManager[None]:
        return manifests.reading(dump)

    def is_read(self, dump: Path) -> bool:
        try:
            with manifests.removing(dump):
                return False
        except BlockingIOError:
            return True

    @contextlib.contextmanager
    def removal(self, dump: Path) -> Iterator[None]:
        try:
            with manifests.removing(dump):
                yield
                _remove(dump)
        except BlockingIOError:
            raise InUse(
                f"{dump.name} is being read", hint="try again when its restore or verification ended"
            ) from None

    def discard(self, dump: Path) -> None:
        with self.removal(dump):
            pass


def _remove(dump: Path) -> None:
    name = manifests.bare_name(dump)
    globals_ = dump.with_name(name + manifests.GLOBALS)
    try:
        if dump.is_dir():
            shutil.rmtree(dump)
        # The manifest last: what a death on the way leaves is then still known as a backup, as a damaged one.
        for path in (
            dump,
            globals_,
            globals_.with_name(globals_.name + manifests.ENCRYPTED),
            manifests.manifest_path(dump),
        ):
            path.unlink(missing_ok=True)
    except NotADirectoryError:
        return
    except OSError as error:
        raise DatabaseError(
            f"cannot remove {error.filename}: {error.strerror}", hint=f"rm -r {dump.parent}/{name}.*"
        ) from error


@contextlib.contextmanager
def _hiding(url: Secret) -> Iterator[None]:
    """Keep the URL and its password out of whatever error leaves the block."""
    hidden = [url, password(url)]
    try:
        yield
    except DatabaseError as error:
        error.message = redact(error.message, hidden)
        error.args = (error.message,)
        raise
