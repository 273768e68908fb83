"""HAProxy's admin socket."""

from __future__ import annotations

import csv
import io
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from backstay.adapters.haproxy.config import SERVER
from backstay.errors import RouterError

DEADLINE_S = 2.0


@dataclass(frozen=True, slots=True)
class ServerRow:
    """One server of `show stat`. `checked` says that a real health check has passed; `address` is `host:port`."""

    slot: str
    component: str
    status: str
    checked: bool
    in_flight: int
    address: str = ""

    @property
    def is_up(self) -> bool:
        return self.status == "UP" and self.checked

    @property
    def is_empty(self) -> bool:
        return self.status.startswith("MAINT")


def ask(path: Path, command: str, patience_s: float = 0.0) -> str:
    """Send a command (several joined by `;`) and return the whole answer. RouterError within two seconds at worst.

    `patience_s` is how long to wait for an HAProxy that is just being started again.
    """
    end = time.monotonic() + patience_s
    while time.monotonic() < end and not _is_listening(path):
        time.sleep(0.01)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(DEADLINE_S)
            connection.connect(str(path))
            connection.sendall(command.encode() + b"\n")
            answer = bytearray()
            while chunk := connection.recv(65536):
                answer += chunk
    except OSError as error:
        raise RouterError(f"HAProxy does not answer on its admin socket: {error}") from error
    return answer.decode(errors="replace")


def _is_listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(str(path))
        except OSError:
            return False
    return True


def order(path: Path, command: str, *, expected: tuple[str, ...] = (), patience_s: float = 0.0) -> None:
    """Send commands that answer nothing (or one of `expected`) when all went well; RouterError otherwise."""
    said = [line for line in ask(path, command, patience_s).splitlines() if line.strip()]
    strange = [line for line in said if not line.startswith(expected or ("\0",))]
    if strange:
        raise RouterError(f"HAProxy refused {command.split(';')[0]!r}: {strange[0]}")


def servers(path: Path) -> list[ServerRow]:
    """All servers of our slots, with what is in flight on their backend."""
    text = ask(path, "show stat").lstrip("# ")
    rows = list(csv.DictReader(io.StringIO(text)))
    queued = {
        r["pxname"]: int(r["qcur"] or 0) + int(r["scur"] or 0) for r in rows if r["svname"] == "BACKEND"
    }
    found = []
    for row in rows:
        slot, dot, component = row["pxname"].partition(".")
        if row["svname"] != SERVER or not dot:
            continue
        checked = (row["check_status"] or "").removeprefix("* ") in ("L7OK", "L7OKC")
        in_flight = queued.get(row["pxname"], 0)
        found.append(ServerRow(slot, component, row["status"], checked, in_flight, row.get("addr") or ""))
    return found


def process_id(path: Path) -> int | None:
    """Pid of the HAProxy that answers on the socket; None when none does."""
    try:
        info = ask(path, "show info")
    except RouterError:
        return None
    for line in info.splitlines():
        if line.startswith("Pid:"):
            return int(line.split()[1])
    return None
