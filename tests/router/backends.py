"""Small HTTP servers that stand in for containers, and a client that notices every failure."""

from __future__ import annotations

import base64
import hashlib
import http.client
import socket
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


class Server(ThreadingHTTPServer):
    """Answers its own name on every path. `health` is the status of /health, `fault` of everything else."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name = name
        self.health = 200
        self.fault = 200
        self.delay_s = 0.0
        self.seen: list[dict[str, str]] = []
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """A health check that hangs up early is no news."""

    def __enter__(self) -> Server:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        if self.headers.get("Upgrade") == "websocket":
            self._echo()
            return
        # A connection that is closed with something unread is reset, and the answer may be lost with it.
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_health = self.path.startswith("/health")
        status = self.server.health if is_health else self.server.fault
        if not is_health:
            self.server.seen.append({k.lower(): v for k, v in self.headers.items()})
            time.sleep(self.server.delay_s)
        body = f"{self.server.name} {self.path}".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def _echo(self) -> None:
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        key = self.headers["Sec-WebSocket-Key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key).digest()).decode())
        self.end_headers()
        self.wfile.flush()
        while data := self.connection.recv(1024):
            self.connection.sendall(self.server.name.encode() + b":" + data)
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def get(port: int, path: str = "/", headers: dict[str, str] | None = None) -> tuple[int, str, dict[str, str]]:
    """Status, body and headers of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode(), {k.lower(): v for k, v in response.headers.items()}
    finally:
        connection.close()


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


class Clients:
    """Threads that ask all the time: two keep their connection, two open a new one for each request."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self.stopping = threading.Event()
        self.threads = [
            threading.Thread(target=self._ask, args=(keep,), daemon=True)
            for keep in (True, True, False, False)
        ]

    def __enter__(self) -> Clients:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def _ask(self, keep: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self.stopping.is_set():
            try:
                connection.request("GET", "/")
                response = connection.getresponse()
                body = response.read().decode()
                if response.status != 200:
                    self.failures.append(f"{response.status}")
                self.answers[body.split()[0]] += 1
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                connection.close()
            if not keep:
                connection.close()
            time.sleep(0.002)
        connection.close()
