"""A line between a store and its server that breaks exactly at a commit."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from enum import StrEnum
from types import TracebackType
from urllib.parse import urlsplit


class Loss(StrEnum):
    """What is lost at the next commit. HELD_UP: the line is cut at once, and the commit still arrives later."""

    QUESTION = "question"
    ANSWER = "answer"
    HELD_UP = "held up"


HELD_UP_S = 1.0


class Wire:
    """As a context manager: forwards to the server of `url` inside the block, at a port of its own."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.port is not None
        self._server = ("127.0.0.1", parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.replace(f":{parts.port}/", f":{self._listener.getsockname()[1]}/")
        self.losses: list[Loss] = []
        """Of the next commits, one each."""
        self.lost = 0

    def __enter__(self) -> Wire:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_nobody_in()

    def let_nobody_in(self) -> None:
        """Connections that are there go on; new ones are refused."""
        _cut(self._listener)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                for work in (self._ask, self._answer):
                    threading.Thread(target=work, args=(client, server), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if b"COMMIT\0" in data and self.losses:
                    self._lose(self.losses.pop(0), data, client, server)
                    return
                server.sendall(data)
        _cut(server)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
        _cut(client)

    def _lose(self, loss: Loss, data: bytes, client: socket.socket, server: socket.socket) -> None:
        self.lost += 1
        if loss is not Loss.ANSWER:
            _cut(client)
        if loss is Loss.HELD_UP:
            time.sleep(HELD_UP_S)
        if loss is not Loss.QUESTION:
            client.shutdown(socket.SHUT_RDWR) if loss is Loss.ANSWER else None
            server.sendall(data)
            time.sleep(0.2)
        _cut(server)


def _cut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
