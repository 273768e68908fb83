"""A PostgreSQL server of a test's own: to be filled up, frozen, stopped and killed."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from backstay.adapters.host import start_time
from tests.world.commands import clean_environment, run, succeeds
from tests.world.processes import wait_until
from tests.world.state import PostgresPlan

USER, PASSWORD = "keeper", "s3cretOfThePrivateServer"


class Server:
    """As a context manager: it runs inside the block, and nothing of it is left after.

    One that is `durable` syncs every commit, in memory where there is enough of it and not `on_disk` is asked for.
    `copied`, which is taken over, is the data folder of another one, made by a physical restore; `senders` how many may
    copy this one at once.
    """

    def __init__(
        self,
        plan: PostgresPlan,
        connections: int,
        *,
        durable: bool = False,
        on_disk: bool = False,
        senders: int = 0,
        copied: Path | None = None,
    ) -> None:
        self._durable = durable
        self._in_memory = durable and not on_disk
        self.port = 0
        self._bin = Path(plan.bin_dir)
        self._os_user = plan.os_user
        self._connections = connections
        self._senders = senders
        self._copied = copied
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        entry = pwd.getpwnam(self._os_user)
        self.folder = Path(tempfile.mkdtemp(prefix="bs-pg-", dir=_memory() if self._in_memory else None))
        os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        self.data = self.folder / "data"
        if self._copied is not None:
            shutil.move(self._copied, self.data)
            run(["chown", "-R", f"{entry.pw_uid}:{entry.pw_gid}", self.data])
            self.start()
            return self
        words = self.folder / "words"
        words.write_text(PASSWORD + "\n")
        words.chmod(0o644)
        run(
            [self._bin / "initdb", "-U", USER, "--pwfile", words, "--auth=scram-sha-256", "--no-sync",
             "--data-checksums", "--encoding=UTF8", "--locale=C.UTF-8", "-D", self.data],
            user=self._os_user, seconds=120,
        )  # fmt: skip
        words.unlink()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it answers; a second time, at the same port."""
        self.port = self.port or _free_port()
        settings = {
            "port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder,
            "fsync": "on" if self._durable else "off", "max_connections": self._connections,
            "max_wal_senders": self._senders, "superuser_reserved_connections": 1, "autovacuum": "off",
        }  # fmt: skip
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            [self._bin / "postgres", "-D", self.data, *options],
            env=clean_environment(), user=self._os_user, group=self._os_user, extra_groups=[], cwd="/",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        assert wait_until(
            lambda: succeeds([self._bin / "pg_isready", "-h", "127.0.0.1", "-p", str(self.port)]), 30
        )

    def query(self, sql: str, database: str = "postgres") -> str:
        words = [
            "-X",
            "-q",
            "-w",
            "-At",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            USER,
        ]
        return run(
            [self._bin / "psql", *words, "-d", database, "-f", "-"],
            env={"PGPASSWORD": PASSWORD}, stdin=sql,
        ).strip()  # fmt: skip

    def freeze(self) -> None:
        """Stop the postmaster and all its children in their tracks, as a hung disk would."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)
        for pid in self._backends():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        for pid in [*self._backends(), self._process.pid]:
            os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        """A fast shutdown; nothing happens when it does not run."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
            self._process = None

    def kill(self) -> None:
        """SIGKILL to the postmaster and all its children, as a power cut; what is in memory outlives it."""
        assert self._process is not None
        pids = [self._process.pid, *self._backends()]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # sessions come and go
                os.kill(pid, signal.SIGKILL)
        self._process.wait(30)
        # The next one does not start while a child of this one has its memory.
        assert wait_until(lambda: not any(map(start_time, pids)), 30)
        self._process = None

    def create_database(self, name: str) -> str:
        """A fresh, empty database; its URL."""
        self.query(f'CREATE DATABASE "{name}" TEMPLATE template0')
        return self.url.removesuffix("/postgres") + f"/{name}"

    def drop_database(self, name: str) -> None:
        self.query(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _backends(self) -> list[int]:
        assert self._process is not None
        path = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]


def _memory() -> str | None:
    """A folder in memory, when it has room for a server."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 512 * 1024**2 else None


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])
