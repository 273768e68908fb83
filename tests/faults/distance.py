"""An engine at a distance: its socket here leads over a network of two addresses, which can be cut, to the engine.

As when a socket is forwarded from another machine. The containers stay where they are.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

from tests.world.commands import run, tool

FORWARD = """
import os, socket, sys, threading
def pour(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
        b.shutdown(socket.SHUT_WR)
    except OSError:
        a.close(); b.close()
def reach(where):
    host, _, port = where.rpartition(":")
    made = socket.socket(socket.AF_UNIX if not host else socket.AF_INET)
    made.connect((host, int(port)) if host else where[1:])
    return made
def serve(client):
    try:
        beyond = reach(sys.argv[2])
    except OSError:
        client.close(); return
    threading.Thread(target=pour, args=(beyond, client), daemon=True).start()
    pour(client, beyond)
host, _, port = sys.argv[1].rpartition(":")
door = socket.socket(socket.AF_UNIX if not host else socket.AF_INET)
door.bind((host, int(port)) if host else sys.argv[1][1:]); door.listen(64); print("open", flush=True)
while True:
    threading.Thread(target=serve, args=(door.accept()[0],), daemon=True).start()
"""
"""Both ends: `ADDRESS:PORT` or `:PATH` of a socket to listen on, and where to."""

PORT = 2375


class Distance:
    """As a context manager: `docker_host` leads to the engine at `engine` (a path) as long as it is not `cut`."""

    def __init__(self, engine: Path) -> None:
        self._engine = engine
        self._space = f"bsd{os.getpid()}"
        number = os.getpid() % 16000
        net = f"169.254.{number // 64}.{number % 64 * 4}"
        head, _, last = net.rpartition(".")
        self._near, self._far = f"{head}.{int(last) + 1}", f"{head}.{int(last) + 2}"
        self._folder = Path(tempfile.mkdtemp(prefix="bs-"))
        self._ends: list[subprocess.Popen[bytes]] = []

    @property
    def docker_host(self) -> str:
        return f"unix://{self._folder}/far.sock"

    def __enter__(self) -> Self:
        ip, near, far = tool("ip"), f"{self._space}a", f"{self._space}b"
        run([ip, "netns", "add", self._space])
        run([ip, "link", "add", near, "type", "veth", "peer", "name", far, "netns", self._space])
        run([ip, "addr", "add", f"{self._near}/30", "dev", near])
        run([ip, "link", "set", near, "up"])
        self._beyond(ip, "addr", "add", f"{self._far}/30", "dev", far)
        self._beyond(ip, "link", "set", far, "up")
        there = [tool("nsenter"), f"--net=/run/netns/{self._space}", sys.executable, "-c", FORWARD]
        self._start([*there, f"{self._far}:{PORT}", f":{self._engine}"])
        self._start([sys.executable, "-c", FORWARD, f":{self._folder}/far.sock", f"{self._far}:{PORT}"])
        return self

    def __exit__(self, *_: object) -> None:
        for end in self._ends:
            end.kill()
            end.communicate()
        run([tool("ip"), "link", "delete", f"{self._space}a"])
        run([tool("ip"), "netns", "delete", self._space])
        (self._folder / "far.sock").unlink()
        self._folder.rmdir()

    def cut(self) -> None:
        """From now on every packet is lost, in both directions, and nobody is told."""
        for chain in ("INPUT", "OUTPUT"):
            self._beyond(tool("iptables"), "-w", "-A", chain, "-j", "DROP")

    def mend(self) -> None:
        for chain in ("INPUT", "OUTPUT"):
            self._beyond(tool("iptables"), "-w", "-F", chain)

    def _beyond(self, *words: str) -> None:
        run([tool("nsenter"), f"--net=/run/netns/{self._space}", *words])

    def _start(self, argv: list[str]) -> None:
        end = subprocess.Popen(argv, stdout=subprocess.PIPE)
        self._ends.append(end)
        assert end.stdout is not None and end.stdout.readline() == b"open\n"
