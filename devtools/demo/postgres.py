"""A private PostgreSQL server in a temporary folder, ended with the demo."""

from __future__ import annotations

import os
import pwd
import secrets
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

SUPERUSER: Final = "demo"
READY_S: Final = 30.0
STOP_S: Final = 20.0


class DemoError(Exception):
    """The demo cannot be played; the message says why."""


@dataclass
class Postgres:
    """A server with the tools in `bin_dir` and its data in `folder`, on a loopback port. A context manager.

    PostgreSQL refuses to run as root; there it runs as `postgres`, or `nobody` where there is no such user.
    """

    bin_dir: Path
    folder: Path
    port: int
    password: str = field(default_factory=lambda: secrets.token_hex(16))

    def __enter__(self) -> Self:
        self.owner = _unprivileged() if os.geteuid() == 0 else None
        self._make()
        with (self.folder / "log").open("wb") as log:
            self.server = subprocess.Popen(
                [str(self.bin_dir / "postgres"), "-D", str(self.folder / "data")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                **self._identity,
            )
        try:
            self._await()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End every session and the server; kill it when it does not go."""
        self.server.send_signal(signal.SIGINT)
        try:
            self.server.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait()

    def url(self, name: str) -> str:
        """The superuser's URL of a database."""
        return f"postgresql://{SUPERUSER}:{self.password}@127.0.0.1:{self.port}/{name}"

    def create(self, name: str) -> str:
        """Make a database; returns its URL."""
        self.query(f'CREATE DATABASE "{name}"', "postgres")
        return self.url(name)

    def query(self, sql: str, name: str) -> str:
        """Run SQL; rows as unaligned text. DemoError with the server's words when it fails."""
        argv = [
            str(self.bin_dir / "psql"),
            "-XqAtw",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            SUPERUSER,
        ]
        env = {**os.environ, "PGPASSWORD": self.password, "PGCONNECT_TIMEOUT": "3"}
        done = subprocess.run(
            [*argv, "-d", name, "-c", sql], env=env, capture_output=True, text=True, timeout=30, check=False
        )
        if done.returncode != 0:
            raise DemoError(f"PostgreSQL: {done.stderr.strip()}")
        return done.stdout.strip()

    @property
    def _identity(self) -> dict[str, Any]:
        """Whose rights the server gets, in the words of `subprocess`."""
        if self.owner is None:
            return {}
        return {"user": self.owner.pw_uid, "group": self.owner.pw_gid, "extra_groups": []}

    def _make(self) -> None:
        self.folder.mkdir(mode=0o700)
        password_file = self.folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        if self.owner is not None:
            for path in (self.folder, password_file):
                os.chown(path, self.owner.pw_uid, self.owner.pw_gid)
        words = ["--username", SUPERUSER, "--pwfile", str(password_file), "--auth=scram-sha-256", "--no-sync"]
        words += ["--encoding=UTF8", "--locale=C", "-D", str(self.folder / "data")]
        done = subprocess.run(
            [str(self.bin_dir / "initdb"), *words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            **self._identity,
        )
        if done.returncode != 0:
            raise DemoError(f"initdb failed: {done.stderr.strip()}")
        password_file.unlink()
        with (self.folder / "data" / "postgresql.conf").open("a") as settings:
            settings.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = '{self.folder}'\n"
                # It lives for a minute: nothing of it need survive a power cut.
                "fsync = off\n"
            )

    def _await(self) -> None:
        until = time.monotonic() + READY_S
        while True:
            try:
                self.query("SELECT 1", "postgres")
            except DemoError as error:
                if self.server.poll() is not None or time.monotonic() > until:
                    said = (self.folder / "log").read_text(errors="replace").splitlines()[-5:]
                    raise DemoError("\n".join(["PostgreSQL does not start:", *said, str(error)])) from error
                time.sleep(0.05)
            else:
                return


def _unprivileged() -> pwd.struct_passwd:
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    found = known.get("postgres") or known.get("nobody")
    if found is None:
        raise DemoError("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")
    return found
