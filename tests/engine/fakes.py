"""Engines that misbehave: servers on a Unix socket that say what a test wants, or nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Conduct = Callable[[socket.socket, bytes], None]

VERSION = b'{"Version": "99", "ApiVersion": "1.41", "Os": "linux", "Arch": "amd64"}'


@contextmanager
def engine(folder: Path, conduct: Conduct) -> Iterator[str]:
    """A server that answers the first request of each connection with `conduct(connection, request)`.

    It leaves the version request of the client to itself, so that `conduct` meets the call under test.
    """
    path = folder / "e.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(8)
        ended = threading.Event()
        thread = threading.Thread(target=_serve, args=(listener, conduct, ended))
        thread.start()
        try:
            yield f"unix://{path}"
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(listener: socket.socket, conduct: Conduct, ended: threading.Event) -> None:
    workers = []
    while not ended.is_set():
        try:
            connection, _ = listener.accept()
        except OSError:  # the listener was shut down: the test is over
            break
        worker = threading.Thread(target=_answer, args=(connection, conduct))
        worker.start()
        workers.append(worker)
    for worker in workers:
        worker.join()


def _answer(connection: socket.socket, conduct: Conduct) -> None:
    with connection:
        try:
            request = connection.recv(65536)
            if request.startswith(b"GET /version "):
                connection.sendall(reply(200, VERSION))
            else:
                conduct(connection, request)
        except OSError:  # the client gave up, as it should
            return


def reply(status: int, body: bytes) -> bytes:
    """A whole HTTP answer after which the connection ends."""
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


def silent(connection: socket.socket, _: bytes) -> None:
    """Takes the request and says nothing until the client goes."""
    connection.settimeout(30)
    while connection.recv(65536):
        pass


def trickling(connection: socket.socket, _: bytes) -> None:
    """A header that never ends, a byte at a time: no single read times out."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _step in range(300):
        connection.sendall(b".")
        time.sleep(0.1)


def stalling_pull(connection: socket.socket, request: bytes) -> None:
    """Starts a pull and stalls; says of every image that it is not here."""
    if b"/images/create" not in request:
        connection.sendall(reply(404, b'{"message": "No such image"}'))
        return
    _begin_stream(connection)
    silent(connection, b"")


def chatting_pull(connection: socket.socket, request: bytes) -> None:
    """A pull that goes on and on with progress."""
    if b"/images/create" not in request:
        connection.sendall(reply(404, b'{"message": "No such image"}'))
        return
    _begin_stream(connection)
    for _step in range(300):
        _chunk(connection, b'{"status": "Downloading"}\r\n')
        time.sleep(0.1)


def breaking(connection: socket.socket, _: bytes) -> None:
    """Ends the connection in the middle of an answer."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n[")


def _begin_stream(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    _chunk(connection, b'{"status": "Pulling"}\r\n')


def _chunk(connection: socket.socket, data: bytes) -> None:
    connection.sendall(f"{len(data):x}\r\n".encode() + data + b"\r\n")
