"""A server that answers with exactly the bytes it was told, when it was told to."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Sequence
from types import TracebackType


class RawServer:
    """Answers each connection, once a whole request head has come, with `parts`, waiting `pause_s` before each
    part but the first. `resets` ends the connection with a TCP reset, else it is closed.

    Used as a context manager; `requests` holds the request heads that came.
    """

    def __init__(self, *parts: bytes, pause_s: float = 0.0, resets: bool = False) -> None:
        self.parts: Sequence[bytes] = parts
        self.pause_s = pause_s
        self.resets = resets
        self.requests: list[bytes] = []
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def __enter__(self) -> RawServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(ConnectionError):
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (got := connection.recv(65536)):
                return
            head += got
        self.requests.append(head)
        for number, part in enumerate(self.parts):
            if number and self._over.wait(self.pause_s):
                return
            connection.sendall(part)
        if self.resets:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def response(status: str = "200 OK", body: bytes = b"", *headers: str) -> bytes:
    """A whole response with its length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body
