"""The holder: owns the listening sockets of one environment's router and keeps HAProxy running on them.

Run as `python -m backstay.adapters.haproxy.holder FOLDER`. Standard library only, one thread. It starts HAProxy
with the sockets as inherited descriptors, starts it again at once when it dies, reloads it by starting a second one
with `-sf`, and counts the log lines it gets. Commands come as one JSON line on `holder.sock`.

When the holder itself is killed HAProxy goes on serving; the next holder binds the same addresses (SO_REUSEPORT) and
lets its own HAProxy take over from the orphan.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from backstay.adapters.haproxy.config import BIND_VARIABLE, CANDIDATE, CONFIG
from backstay.adapters.haproxy.processes import PID_FILE, orphan
from backstay.adapters.haproxy.traffic import Ring

BACKLOG = 4096
DRAINING_S = 90.0
"""How long a reloaded HAProxy that still has clients is told of switches: longer than idle clients may stay (75 s)."""

QUICK_DEATH_S = 1.0
SLOWEST_RESPAWN_S = 2.0
LOG_BUFFER = 4 * 1024 * 1024

Address = tuple[str, int]


class Holder:
    """State of the one holder of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sockets: dict[Address, socket.socket] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.old: list[subprocess.Popen[bytes]] = []
        self.draining: list[tuple[float, socket.socket]] = []
        self.started_at = 0.0
        self.quick_deaths = 0
        self.respawn_at: float | None = None
        self.ring = Ring()
        self.selector = selectors.DefaultSelector()
        self.running = True
        self.is_noted = True

    def run(self) -> None:
        """Serve until asked to stop."""
        control = self._listen_unix("holder.sock", socket.SOCK_STREAM)
        log = self._listen_unix("log.sock", socket.SOCK_DGRAM)
        log.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LOG_BUFFER)
        self.selector.register(control, selectors.EVENT_READ, lambda: self._serve(control))
        self.selector.register(log, selectors.EVENT_READ, lambda: self._read_log(log))
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "running", False))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        while self.running:
            wait = None if self.respawn_at is None else max(0.0, self.respawn_at - time.monotonic())
            for key, _ in self.selector.select(wait if wait is not None else 1.0):
                key.data()
            self._forget_drained()
            self._note_pid()
            if self.respawn_at is not None and time.monotonic() >= self.respawn_at:
                try:
                    self.start()
                except OSError as error:
                    _say(f"haproxy cannot be started: {error}")
        self._end()

    def apply(self, addresses: list[Address]) -> None:
        """Listen on exactly these addresses and (re)load HAProxy, with the candidate configuration when there is one.

        Raises OSError when an address is taken, ValueError with HAProxy's words when it refuses the file.
        """
        fresh = {a: _listen(a) for a in addresses if a not in self.sockets}
        wanted = {a: self.sockets.get(a) or fresh[a] for a in addresses}
        candidate = self.folder / CANDIDATE
        config = candidate if candidate.exists() else self.folder / CONFIG
        checked = subprocess.run(
            [_haproxy(), "-c", "-f", str(config)],
            env=_environment(wanted),
            pass_fds=[one.fileno() for one in wanted.values()],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        if checked.returncode != 0:
            candidate.unlink(missing_ok=True)
            for one in fresh.values():
                one.close()
            raise ValueError((checked.stderr or checked.stdout).strip())
        if config is candidate:
            candidate.rename(self.folder / CONFIG)
        dropped = [s for a, s in self.sockets.items() if a not in wanted]
        self.sockets = wanted
        try:
            self.start()
        finally:
            for one in dropped:
                one.close()

    def start(self) -> None:
        """Start HAProxy on our sockets; one that runs already, ours or an orphan, is told to finish and leave.

        OSError when it cannot be started; then that one goes on, and it is tried again soon.
        """
        ours = self.process if self.process and self.process.poll() is None else None
        predecessor = ours.pid if ours else orphan(self.folder)
        self.respawn_at = time.monotonic() + SLOWEST_RESPAWN_S
        argv = [_haproxy(), "-db", "-f", str(self.folder / CONFIG)]
        if predecessor:
            argv += ["-sf", str(predecessor)]
        if ours:
            self._keep_in_touch()
        process = subprocess.Popen(
            argv,
            env=_environment(self.sockets),
            pass_fds=[one.fileno() for one in self.sockets.values()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        if ours:
            self.old.append(ours)
        self.process, self.started_at, self.respawn_at, self.is_noted = process, time.monotonic(), None, False
        pidfd = os.pidfd_open(process.pid)
        self.selector.register(pidfd, selectors.EVENT_READ, lambda: self._died(process, pidfd))
        self._note_pid()

    def _note_pid(self) -> None:
        """Write down which HAProxy is ours, for a later holder; tried again for as long as the disk refuses."""
        if self.process is not None and not self.is_noted:
            with contextlib.suppress(OSError):
                (self.folder / PID_FILE).write_text(f"{self.process.pid}\n")
                self.is_noted = True

    def _keep_in_touch(self) -> None:
        """Open an admin connection to the HAProxy that is about to drain: later nobody can, and its idle clients must
        learn of a switch as well (it has a map of its own)."""
        with contextlib.suppress(OSError):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(1.0)
            connection.connect(str(self.folder / "admin.sock"))
            connection.sendall(b"prompt\nset timeout cli 120\n")
            self.draining.append((time.monotonic() + DRAINING_S, connection))

    def _relay(self, command: str) -> int:
        """Send a command to every HAProxy that drains; returns how many were told."""
        told = []
        for until, connection in self.draining:
            try:
                connection.sendall(command.encode() + b"\n")
            except OSError:
                connection.close()
            else:
                told.append((until, connection))
        self.draining = told
        return len(told)

    def _forget_drained(self) -> None:
        """Let go of draining processes after their time: our own connection would keep them alive."""
        now = time.monotonic()
        for until, connection in self.draining:
            if until <= now:
                connection.close()
        self.draining = [(until, connection) for until, connection in self.draining if until > now]
        self.old = [p for p in self.old if p.poll() is None]

    def _died(self, process: subprocess.Popen[bytes], pidfd: int) -> None:
        """An HAProxy is gone. The one that serves is started again at once, slower only when it dies right after its
        start, over and over."""
        self.selector.unregister(pidfd)
        os.close(pidfd)
        code = process.wait()
        if process is not self.process:
            return
        quick = time.monotonic() - self.started_at < QUICK_DEATH_S
        self.quick_deaths = self.quick_deaths + 1 if quick else 0
        pause = 0.0 if self.quick_deaths < 2 else min(0.05 * 2**self.quick_deaths, SLOWEST_RESPAWN_S)
        _say(f"haproxy ended with {code}; starting it again in {pause:g} s")
        self.respawn_at = time.monotonic() + pause

    def _serve(self, control: socket.socket) -> None:
        connection, _ = control.accept()
        with connection:
            connection.settimeout(2.0)
            try:
                command = json.loads(connection.makefile("r").readline())
                answer = self._answer(command)
            except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
                answer = {"ok": False, "error": str(error)}
            with contextlib.suppress(OSError):
                connection.sendall(json.dumps(answer).encode() + b"\n")

    def _answer(self, command: dict[str, Any]) -> dict[str, Any]:
        match command["do"]:
            case "apply":
                self.apply([(host, port) for host, port in command["binds"]])
            case "traffic":
                counts = self.ring.count(
                    command["slot"], command["window_s"], command["slow_s"], time.monotonic()
                )
                return {"ok": True, "counts": counts}
            case "relay":
                return {"ok": True, "told": self._relay(command["command"])}
            case "stop":
                self.running = False
            case "status":
                pass
            case other:
                return {"ok": False, "error": f"unknown command {other!r}"}
        alive = self.process is not None and self.process.poll() is None
        return {
            "ok": True,
            "pid": os.getpid(),
            "haproxy": self.process.pid if alive and self.process else None,
            "binds": sorted(self.sockets),
        }

    def _read_log(self, log: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(1000):
                line = log.recv(1024, socket.MSG_DONTWAIT)
                self.ring.add(line.decode(errors="replace"), time.monotonic())

    def _listen_unix(self, name: str, kind: socket.SocketKind) -> socket.socket:
        path = self.folder / name
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, kind)
        mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
        if kind is socket.SOCK_STREAM:
            listener.listen(16)
        return listener

    def _end(self) -> None:
        for process in [*self.old, *([self.process] if self.process else [])]:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(2)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        for name in ("holder.sock", "log.sock", PID_FILE):
            (self.folder / name).unlink(missing_ok=True)


def _listen(address: Address) -> socket.socket:
    """A listening socket that HAProxy can inherit.

    SO_REUSEPORT lets a new holder share the address with an HAProxy whose holder was killed; that nobody else of
    this user listens there is looked up by the client before it asks (router.py).
    """
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.set_inheritable(True)
    return listener


def _say(text: str) -> None:
    """Into our log, if its disk takes it: a full one must not end us."""
    with contextlib.suppress(OSError):
        print(text, flush=True)


def _environment(sockets: dict[Address, socket.socket]) -> dict[str, str]:
    numbers = {f"{BIND_VARIABLE}{n}": str(s.fileno()) for n, s in enumerate(sockets.values())}
    return {"PATH": "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin", **numbers}


def _haproxy() -> str:
    found = shutil.which("haproxy") or "/usr/sbin/haproxy"
    if not Path(found).exists():
        raise OSError("haproxy is not installed")
    return found


def main(folder: str) -> int:
    path = Path(folder)
    os.chdir("/")
    with (path / "holder.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another holder runs already")
            return 0
        Holder(path).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
