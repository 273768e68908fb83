"""Commands of ours as child processes, each with a log of its own, so that our end does not end them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from backstay.adapters.host import LinuxHost, boot_id, start_time
from backstay.domain.lease import Owner
from backstay.errors import BackstayError

OF_THE_MANAGER: Final = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
"""What a service manager told us and not our children."""
TOLD: Final = 500
_TAIL: Final = 8192


class ChildProcess:
    """Implements ports.children.Child."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        me = LinuxHost().owner()
        self._owner = Owner(me.name, me.host, process.pid, start_time(process.pid) or 0, boot_id())

    @property
    def owner(self) -> Owner:
        return self._owner

    def ended(self) -> int | None:
        return self._process.poll()

    def said(self) -> str:
        try:
            with self._log.open("rb") as log:
                log.seek(max(0, os.fstat(log.fileno()).st_size - _TAIL))
                lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        except OSError:
            return ""
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return (errors or lines or [""])[-1][:TOLD]

    def ask_to_end(self) -> None:
        if self.ended() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        if self.ended() is None:
            self._process.kill()
            self._process.wait()


class OwnCommands:
    """Implements ports.children.Children: `backstay …` with a configuration file, in the state folder `home`."""

    def __init__(self, config: Path, home: Path) -> None:
        self._config = config
        self._home = home
        self._logs = home / "logs"

    def start(self, name: str, words: Sequence[str]) -> ChildProcess:
        log = self._logs / f"serve-{name}.log"
        argv = [sys.executable, "-m", "backstay", *words, "--config", str(self._config), "--no-color"]
        env = {key: value for key, value in os.environ.items() if key not in OF_THE_MANAGER}
        env["BACKSTAY_HOME"] = str(self._home)
        try:
            self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                process = subprocess.Popen(
                    argv, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    start_new_session=True,
                )  # fmt: skip
            finally:
                os.close(output)
        except OSError as error:
            raise BackstayError(
                f"backstay {' '.join(words)} cannot be started: {error.strerror}",
                hint=f"is {self._logs} writable?",
            ) from error
        return ChildProcess(process, log)
