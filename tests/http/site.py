"""A small web site whose every answer a test decides, served concurrently."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

PAGE = b"<title>Shop</title>"


@dataclass
class Reply:
    """One answer. `wait_s` comes before it, `drip_s` before every byte of its body."""

    status: int = 200
    body: bytes = PAGE
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "text/html"})
    wait_s: float = 0.0
    drip_s: float = 0.0


def of_json(body: bytes, status: int = 200, **more: float) -> Reply:
    return Reply(status, body, {"Content-Type": "application/json"}, **more)


Answering = Callable[[str, str, Mapping[str, str]], Reply]
"""From method, path and request headers to the reply."""


def good(method: str, path: str, headers: Mapping[str, str]) -> Reply:
    """What a good site answers: a page, an API and a health path."""
    if path == "/api/v1/health/":
        return of_json(b'{"database": "connected"}')
    if path == "/api/v1/":
        return of_json(b'{"name": "shop"}')
    return Reply() if path == "/" else Reply(404, b"not found")


class Site:
    """Serves `answering` on a loopback port; `asked` holds what was asked. A context manager."""

    def __init__(self, answering: Answering = good) -> None:
        self.answering = answering
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def _reply(self) -> None:
                site.asked.append(f"{self.command} {self.path}")
                reply = site.answering(self.command, self.path, dict(self.headers))
                time.sleep(reply.wait_s)
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                step = 1 if reply.drip_s else len(reply.body) or 1
                for start in range(0, len(reply.body), step):
                    time.sleep(reply.drip_s)
                    self.wfile.write(reply.body[start : start + step])

            do_GET = do_OPTIONS = _reply

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 64

            def handle_error(self, *args: object) -> None:
                """A client that left early is no error here."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> Site:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
