"""A scratch server from the binaries on this host, in a folder of its own.

As root the server runs as an unprivileged user, who may not pass through our state folder. So the server's own folder
is opened for it, and it knows that folder by the open handle (`/proc/self/fd/N`) alone.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from backstay.adapters.scratch import binaries, sql
from backstay.adapters.scratch.claim import Claim, remove_tree
from backstay.adapters.scratch.locales import cure_on_host, missing_locale
from backstay.adapters.scratch.processes import end_all_in
from backstay.adapters.scratch.reflink import can_refer, copy_by_reference
from backstay.adapters.scratch.server import MAINTENANCE, OwnServer
from backstay.adapters.scratch.settings import ACCESS, settings
from backstay.adapters.scratch.sql import SUPERUSER
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError
from backstay.ports.scratch import ScratchOrder

READY_S: Final = 60.0
RECOVERY_S: Final = 3600.0
"""A server that starts on somebody's data replays their write-ahead log first."""
_ATTEMPTS: Final = 5
_LOG_LINES: Final = 3


class LocalServer(OwnServer):
    """Implements ports.scratch.ScratchServer. Containers reach it at `gateway`, the host's address on their network;
    without one only this host does."""

    def __init__(self, order: ScratchOrder, claim: Claim, gateway: str | None) -> None:
        super().__init__(order.major, Secret(secrets.token_hex(16)))
        self._bin = binaries.find(order.major)
        self._claim = claim
        self._gateway = gateway
        self._identity = binaries.identity()
        self._recovery = order.recovery
        self._folder = claim.folder
        self._handle = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    def start(self, data: Path | None) -> None:
        """Make a cluster, or take `data`, and return once the server answers."""
        if data is None:
            self._initialise()
        else:
            self._take_over(data)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._launch()
                return
            except _PortTaken:
                self._port = 0
                if attempt == _ATTEMPTS:
                    raise

    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self._port

    def address_for_containers(self) -> tuple[str, int]:
        return self._gateway or "127.0.0.1", self._port

    def cure(self, locale: str) -> str:
        return cure_on_host(locale, self.major)

    def keep(self, database: str) -> str:
        """By reference where the filesystem can; the server pauses for that, for its files must be at rest."""
        if not can_refer(self._folder):
            return super().keep(database)
        self._halt()
        copy_by_reference(self._folder / "data", self._folder / "kept")
        self._launch()
        return "reflink"

    def go_back(self, database: str) -> bool:
        if not (self._folder / "kept").exists():
            return super().go_back(database)
        self._end()
        remove_tree(self._folder / "data")
        (self._folder / "kept").rename(self._folder / "data")
        self._launch()
        return True

    def _halt(self) -> None:
        """Stop it in good order: its files are whole then."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(READY_S)
        except subprocess.TimeoutExpired:
            raise DatabaseError(f"the scratch server did not stop within {READY_S:g} s") from None

    def _end(self) -> None:
        end_all_in(self._folder)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self._end()
        if self._handle:
            os.close(self._handle)
            self._handle = 0
        self._claim.give_back()

    @property
    def _seen(self) -> str:
        """The folder as the server names it."""
        return str(self._folder) if self._identity is None else f"/proc/self/fd/{self._handle}"

    @property
    def _words(self) -> dict[str, Any]:
        env = {key: os.environ[key] for key in ("PATH", "LANG", "TZ") if key in os.environ}
        words = {"cwd": self._folder, "env": {**env, "LC_MESSAGES": "C"}, "pass_fds": (self._handle,)}
        return words if self._identity is None else {**words, **self._identity.as_words}

    def _initialise(self) -> None:
        password_file = self._folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self._password.reveal())
        self._own()
        words = ["--username", SUPERUSER, "--pwfile", f"{self._seen}/password", "--auth=scram-sha-256"]
        words += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "-D", f"{self._seen}/data"]
        self._run("initdb", words, READY_S)
        password_file.unlink()
        self._configure()

    def _take_over(self, data: Path) -> None:
        """Nothing of the old server's settings counts here; its roles stay, and we get one of our own."""
        if data != self._folder / "data":
            raise DatabaseError(f"{data} is not the folder that was given for this scratch server")
        for left in ("postmaster.pid", "standby.signal", "recovery.signal", "postgresql.auto.conf"):
            (data / left).unlink(missing_ok=True)
        if self._recovery:
            (data / "recovery.signal").touch(mode=0o600)
        self._configure()
        self._own()
        quoted = sql.text(self._password.reveal())
        statements = f"CREATE ROLE {SUPERUSER} SUPERUSER LOGIN PASSWORD {quoted}\n"
        # Signing in takes a role whose password is known. The single-user mode asks for none.
        words = ["--single", "-D", f"{self._seen}/data", *self._options, MAINTENANCE]
        self._run("postgres", words, RECOVERY_S, statements)

    def _configure(self) -> None:
        where = list(dict.fromkeys(["127.0.0.1", self._gateway or "127.0.0.1"]))
        wanted = settings(self.major, where, f"{self._seen}/log", self._recovery)
        (self._folder / "settings.conf").write_text(wanted)
        (self._folder / "access.conf").write_text(ACCESS)
        (self._folder / "map.conf").write_text("")
        self._own()

    def _own(self) -> None:
        if self._identity is not None:
            self._identity.own(self._folder)

    @property
    def _options(self) -> list[str]:
        names = {"config_file": "settings.conf", "hba_file": "access.conf", "ident_file": "map.conf"}
        return [word for key, file in names.items() for word in ("-c", f"{key}={self._seen}/{file}")]

    def _run(self, program: str, words: Sequence[str], deadline_s: float, given: str = "") -> None:
        try:
            done = subprocess.run(
                [self._bin / program, *words],
                input=given.encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=deadline_s,
                check=False,
                start_new_session=True,
                **self._words,
            )
        except subprocess.TimeoutExpired:
            raise DatabaseError(f"{program} of a scratch server did not end in {deadline_s:g} s") from None
        except OSError as error:
            raise DatabaseError(f"{program} cannot be run: {error.strerror}") from error
        if done.returncode != 0:
            locale = missing_locale(done.stdout.decode(errors="replace"))
            raise DatabaseError(
                f"{program} of a scratch server failed: {self._last_words(done.stdout)}",
                hint=self.cure(locale) if locale else None,
            )

    def _launch(self) -> None:
        self._port = self._port or _free_port()
        with (self._folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", f"{self._seen}/data", *self._options, "-p", str(self._port)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **self._words,
            )
        self._await()

    def _await(self) -> None:
        assert self._process is not None
        until = time.monotonic() + READY_S
        while True:
            with contextlib.suppress(DatabaseError):
                sql.rows(self.url(), "SELECT 1")
                return
            if self._process.poll() is not None:
                said = self._last_words((self._folder / "output").read_bytes())
                if "in use" in said or "could not create any TCP/IP sockets" in said:
                    raise _PortTaken(f"port {self._port} was taken meanwhile")
                raise DatabaseError(f"the scratch server does not start: {said}")
            if time.monotonic() > until:
                raise DatabaseError(f"the scratch server did not answer within {READY_S:g} s")
            time.sleep(0.02)

    def _last_words(self, said: bytes) -> str:
        """The last lines that tell a fault, of the output and of the server's own log."""
        told = said.decode(errors="replace").splitlines()
        for log in sorted((self._folder / "log").glob("*.csv")):
            told += log.read_text(errors="replace").splitlines()
        faults = [
            line for line in told if any(word in line for word in ("FATAL", "ERROR", "PANIC", "error:"))
        ]
        return "; ".join((faults or told)[-_LOG_LINES:]) or "it said nothing"


class _PortTaken(DatabaseError):
    """Somebody took the port between our look and the server's start."""


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])
