"""An SSH server of our own on the loopback, for stories about connections that are cut."""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.shop import free_port

CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/key.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
"""


@dataclass
class Sshd:
    """Lets in who has its key, as the user we are. Used as a context manager in an empty folder of its own."""

    folder: Path

    def __enter__(self) -> Self:
        self.port = free_port()
        for name in ("host", "key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name], check=True
            )
        (self.folder / "config").write_text(CONFIG.format(port=self.port, folder=self.folder))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # without it the server does not start as root
        self.process = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-E", self.folder / "log", "-f", self.folder / "config"]
        )
        end = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return self
            assert time.monotonic() < end and self.process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.05)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()

    def connect(
        self, words: Sequence[str], env: Mapping[str, str], *, terminal: bool
    ) -> subprocess.Popen[bytes]:
        """`ssh HOST COMMAND`, with or without a terminal at the other end."""
        remote = " ".join([*(f"{key}={shlex.quote(value)}" for key, value in env.items()), shlex.join(words)])
        options = ["BatchMode=yes", "StrictHostKeyChecking=no", f"UserKnownHostsFile={self.folder}/known"]
        return subprocess.Popen(
            [
                *("ssh", "-F", "none", "-i", str(self.folder / "key"), "-p", str(self.port)),
                *(word for option in options for word in ("-o", option)),
                *(["-tt"] if terminal else []),
                *(f"{getpass.getuser()}@127.0.0.1", remote),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )


def cut(connection: subprocess.Popen[bytes]) -> None:
    """As a network that breaks or a job that is torn down: nobody says goodbye."""
    connection.send_signal(signal.SIGKILL)
    connection.wait()
    for pipe in (connection.stdin, connection.stdout):
        if pipe is not None:
            pipe.close()
