"""A server that is protected continuously: base backups, received WAL, and what looks after them, for tests."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from backstay.adapters.clock import SystemClock
from backstay.adapters.postgres import PostgresTools
from backstay.adapters.postgres.connection import environment
from backstay.adapters.postgres.receiver import PgReceivewal
from backstay.adapters.postgres.tools import find_tool, run
from backstay.adapters.postgres.wal_archive import WalFolder
from backstay.adapters.postgres.wal_server import PostgresWalServer
from backstay.adapters.scratch import OpenScratches
from backstay.adapters.store import SqlStore, open_store
from backstay.domain.backup import Backup, BackupKind, BackupState, backup_id
from backstay.domain.secret import Secret
from backstay.domain.wal import Chain, Continuous
from backstay.pipeline.pitr import PitrOrder, Recovered, recovered_to
from backstay.pipeline.times import rfc3339
from backstay.pipeline.wal import Watch, WatchOrder, chains
from backstay.ports.database import DumpOrder
from backstay.ports.scratch import ScratchOrder
from backstay.testing import FakeEngine
from tests.postgres.server import Server
from tests.world import World
from tests.world.processes import wait_until

SENDERS = 6
APP, ENV = "shop", "prod"


@dataclass
class Ports:
    """All real but the engine, which no scratch server of local binaries needs."""

    store: SqlStore
    database: PostgresTools
    scratches: OpenScratches
    server: PostgresWalServer
    receiver: PgReceivewal
    archive: WalFolder
    clock: SystemClock


class Protected:
    """A server of its own with continuous protection. As a context manager it leaves nothing behind."""

    def __init__(self, world: World) -> None:
        self.primary = Server(world.postgres, 30, senders=SENDERS)
        self.home = Path(tempfile.mkdtemp(prefix="bs-pitr-"))
        self.folder = self.home / "wal" / f"{APP}.{ENV}"
        clock = SystemClock()
        self.ports = Ports(
            open_store(self.home / "state.db", clock), PostgresTools(),
            OpenScratches(self.home / "scratch", FakeEngine()), PostgresWalServer(), PgReceivewal(), WalFolder(), clock,
        )  # fmt: skip
        self.told: list[tuple[str, str]] = []
        self.number = 0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.primary.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_watching()
        self.ports.receiver.stop(self.folder)
        self.primary.__exit__(kind, error, trace)
        self.ports.store.close()
        self.ports.scratches.sweep(APP, ENV)
        shutil.rmtree(self.home)

    @property
    def url(self) -> Secret:
        return Secret(self.primary.url)

    def watch(self, rpo_s: float = 900.0) -> Watch:
        order = WatchOrder(APP, ENV, self.url, self.folder, Continuous("R"), rpo_s)
        return Watch(self.ports, order, self._tell)

    def keep_watching(self, every_s: float = 0.5) -> Watch:
        """In a thread, until `stop_watching`."""
        watch = self.watch()
        watch.step()

        def run() -> None:
            while not self._stopping.wait(every_s):
                watch.step()

        self._stopping.clear()
        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        return watch

    def stop_watching(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(30)
            self._thread = None

    def base_backup(self) -> str:
        began = datetime.now(UTC)
        name = backup_id(APP, ENV, began)
        about = {"app": APP, "environment": ENV, "created_at": rfc3339(began)}
        dump = self.ports.database.dump(
            DumpOrder(self.url, self.home / "backups", name, about, kind=BackupKind.PHYSICAL, checksums=False)
        )
        took_s = (datetime.now(UTC) - began).total_seconds()
        backup = Backup(
            name, APP, ENV, rfc3339(began), BackupKind.PHYSICAL, BackupState.UNVERIFIED, dump.bytes, str(dump.path),
            dump.sha256, "base", took_s=took_s, server_major=15,
        )  # fmt: skip
        self.ports.store.record_backup(backup)
        return name

    def now(self) -> datetime:
        """By the server's clock."""
        return datetime.fromtimestamp(
            float(self.primary.query("SELECT extract(epoch FROM clock_timestamp())")), UTC
        )

    def chains(self, folder: Path | None = None) -> list[Chain]:
        return chains(self.ports, APP, ENV, folder or self.folder)

    def copied(self) -> Path:
        """A copy of the received WAL as it is now, to be damaged."""
        self.number += 1
        return Path(shutil.copytree(self.folder, self.home / f"copy{self.number}"))

    def until(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        assert wait_until(condition, seconds)

    def has_arrived(self) -> None:
        """Everything that is committed now has been received, and is known to be."""
        now = self.now()
        self.until(lambda: bool(self.chains()) and self.chains()[0].until >= now)

    def recovered(self, at: datetime | None = None, folder: Path | None = None) -> Recovered:
        self.number += 1
        scratch = ScratchOrder(APP, ENV, f"pitr{self.number}", 15)
        return recovered_to(self.ports, PitrOrder(APP, ENV, at, folder or self.folder, scratch))

    def _tell(self, kind: str, message: str, **data: Any) -> None:
        self.told.append((kind, message))


def asked(url: Secret, sql: str) -> str:
    """What psql says to a statement."""
    with environment(url) as env:
        return run([find_tool("psql"), "-XAtqw", "-v", "ON_ERROR_STOP=1", "-c", sql], env).strip()
