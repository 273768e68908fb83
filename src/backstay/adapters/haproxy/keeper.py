"""What keeps one router running and listening, seen from a command: its holder, and HAProxy under it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backstay.adapters.detach import detach, exit_status
from backstay.adapters.haproxy import install, processes, runtime
from backstay.adapters.haproxy.config import CANDIDATE, CONFIG, REFUSED, with_binds
from backstay.adapters.haproxy.files import write_durably
from backstay.adapters.haproxy.listeners import bind_fault, listener
from backstay.adapters.haproxy.refusal import faults
from backstay.domain.environment import Bind
from backstay.errors import RouterError

START_DEADLINE_S = 10.0
HOLDER_DEADLINE_S = 25.0
LOOK_S = 1.0
POLL_S = 0.02
LONGEST_PATH = 90

_NEVER = {
    errno.EACCES: (
        "port {port} may be opened by root alone",
        "sysctl -w net.ipv4.ip_unprivileged_port_start={port} (for good: in /etc/sysctl.d)",
    ),
    errno.EADDRNOTAVAIL: ("{host} is no address of this host", "see which there are: ip address"),
    errno.EAFNOSUPPORT: (
        "{host} is of IPv6, which this host does not speak",
        "see which there are: ip address",
    ),
}
"""What no waiting makes better, by what binding says: the fault and its cure."""


class Keeper:
    """Starts, asks and ends the holder of the router whose files and sockets lie in `folder`. Raises RouterError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.admin = folder / "admin.sock"
        self.config_file = folder / CONFIG
        self._log = folder / "holder.log"
        self._socket = folder / "holder.sock"

    def prepare(self) -> None:
        """Make the folder; refuse one whose sockets would have too long a name."""
        if len(str(self.admin)) > LONGEST_PATH:
            raise RouterError(
                f"{self.admin} is too long for a socket ({len(str(self.admin))} bytes, at most {LONGEST_PATH})",
                hint="set BACKSTAY_HOME to a shorter path",
            )
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def ask(self, do: str, deadline_s: float = HOLDER_DEADLINE_S, **arguments: Any) -> dict[str, Any]:
        """The holder's answer to a command; RouterError when there is no holder, or it refuses."""
        return _heard(do, self._answer(do, deadline_s, arguments))

    def _answer(self, do: str, deadline_s: float, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What the holder says to a command, also where it refuses; RouterError when there is none."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(deadline_s)
                connection.connect(str(self._socket))
                connection.sendall(json.dumps({"do": do, **arguments}).encode() + b"\n")
                line = connection.makefile("r").readline()
            answer: dict[str, Any] = json.loads(line)
        except (OSError, ValueError) as error:
            raise RouterError(f"the router's holder does not answer: {error}") from error
        return answer

    def is_there(self) -> bool:
        """Whether a holder listens for commands; it may be too busy to answer."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(LOOK_S)
            try:
                connection.connect(str(self._socket))
            except OSError:
                return False
        return True

    def binds(self) -> frozenset[Bind] | None:
        """Where the holder listens; None when there is none, or it is too busy to answer."""
        try:
            status = self.ask("status", LOOK_S)
        except RouterError:
            return None
        return frozenset(Bind(host, port) for host, port in status["binds"])

    def tell_draining(self, command: str) -> None:
        """Pass a command on to HAProxys that were reloaded and still have clients. Without a holder there is nobody
        who could, and its death is healed by the next `listen_on`."""
        with contextlib.suppress(RouterError):
            self.ask("relay", command=command)

    def listen_on(self, binds: tuple[Bind, ...]) -> None:
        """A holder that listens on exactly these addresses, with HAProxy running on them."""
        wanted = sorted((bind.host or "0.0.0.0", bind.port) for bind in binds)
        try:
            status = self.ask("status")
        except RouterError:
            install.version()
            self._end_unreachable()
            self._refuse_taken(wanted)
            self._start()
            status = self.ask("status")
        have = sorted((host, port) for host, port in status["binds"])
        if have != wanted:
            self._refuse_taken([address for address in wanted if address not in have])
            text = with_binds(self.config_file.read_text(), len(wanted))
            self.reload([list(address) for address in wanted], text)
        self._await_haproxy(None)

    def refuse_taken(self, binds: tuple[Bind, ...]) -> None:
        """Refuse an address on which somebody else listens. Reads only."""
        try:
            ours = {(host, port) for host, port in self.ask("status")["binds"]}
        except RouterError:
            ours = set()
        wanted = {(bind.host or "0.0.0.0", bind.port) for bind in binds}
        self._refuse_taken(sorted(wanted - ours))

    def reload(self, binds: list[Any], text: str) -> None:
        """Have the holder check `text` and, only if HAProxy accepts it, make it the configuration and load it. One that
        it refuses is kept for people to look at."""
        refused = self.folder / REFUSED
        write_durably(self.folder / CANDIDATE, text)
        said = self._answer("apply", HOLDER_DEADLINE_S, {"binds": binds})
        if found := faults(str(said.get("error"))):
            with contextlib.suppress(RouterError):
                write_durably(refused, text)
            raise RouterError(
                f"HAProxy refuses its new configuration: {found}",
                hint="is there something odd about a route, a component or its health in backstay.yml? If not, it is"
                f" Backstay's fault: please report it, with {refused}",
            )
        answer = _heard("apply", said)
        with contextlib.suppress(OSError):
            refused.unlink()
        self._await_haproxy(answer["haproxy"])

    def stop(self) -> None:
        """End the holder and HAProxy, or an HAProxy whose holder is gone; nothing happens when none runs."""
        try:
            self.ask("stop")
        except RouterError:
            self._end_orphan()
            return
        end = time.monotonic() + START_DEADLINE_S
        while self._socket.exists() and time.monotonic() < end:
            time.sleep(POLL_S)

    # ---- inside

    def _refuse_taken(self, addresses: list[tuple[str, int]]) -> None:
        """Refuse an address that we may not have, or on which anybody but our holder or an HAProxy of ours listens:
        they may have one that overlaps with it."""
        for host, port in addresses:
            fault = bind_fault(host, port)
            if fault in _NEVER:
                what, cure = _NEVER[fault]
                hint = f"{cure.format(port=port)}, or choose another router.bind"
                raise RouterError(what.format(host=host, port=port), hint=hint, state="nothing was changed")
            found = listener(port, self._is_ours) if fault is not None else None
            if found is None:
                continue
            raise RouterError(
                f"port {port} on {host} is taken by {found[1]} (pid {found[0]})",
                hint="stop it, or choose another router.bind",
                state="nothing was changed",
            )

    def _is_ours(self, pid: int) -> bool:
        return processes.serves(pid, self.config_file) or pid in processes.holders(self.folder)

    def _end_unreachable(self) -> None:
        """Kill a holder of this folder to whose socket no way leads any more, as its disk was replaced or its files
        were removed. HAProxy serves on, and the next holder takes over from it."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(HOLDER_DEADLINE_S)
            try:
                connection.connect(str(self._socket))
                return
            except (FileNotFoundError, ConnectionRefusedError):
                pass
            except OSError:
                return  # it hangs, so it is there
        for pid in processes.holders(self.folder):
            with contextlib.suppress(OSError):
                handle = os.pidfd_open(pid)
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                select.select([handle], [], [], START_DEADLINE_S)
                os.close(handle)

    def _end_orphan(self) -> None:
        """End an HAProxy whose holder is gone."""
        if (pid := processes.orphan(self.folder)) is not None:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)

    def _start(self) -> None:
        pid = detach(processes.HOLDER, [str(self.folder)], self._log)
        end = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < end:
            try:
                self.ask("status")
            except RouterError:
                time.sleep(POLL_S)
            else:
                return
            if exit_status(pid) is not None:
                break
        raise RouterError("the router's holder did not start", hint=f"look at {self._log}")

    def _await_haproxy(self, pid: int | None) -> None:
        """Return once HAProxy (that of `pid`, when given) answers on its admin socket."""
        end = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < end:
            seen = runtime.process_id(self.admin)
            if seen is not None and (pid is None or seen == pid):
                return
            time.sleep(POLL_S)
        raise RouterError("HAProxy does not come up", hint=f"look at {self._log}")


def _heard(do: str, answer: dict[str, Any]) -> dict[str, Any]:
    """The answer; RouterError when the holder refused."""
    if not answer.get("ok"):
        raise RouterError(f"the router's holder refused to {do}: {answer.get('error')}")
    return answer
