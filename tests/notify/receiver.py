"""A receiver of webhooks that answers as a story wants, and remembers everything it was told."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "T0KEN-9f3b77"
"""Part of every URL here: what must be found nowhere."""

HANG = -1
DRIP = -2


@dataclass
class Receiver:
    """`answers` are used up one by one, the last one stays. HANG takes the message and says nothing; DRIP answers
    one byte at a time, for ever."""

    answers: list[int] = field(default_factory=lambda: [200])
    told: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port}/hooks/{TOKEN}"

    @property
    def bodies(self) -> list[str]:
        """`title: message` of what was taken, in order."""
        return [f"{told['title']}: {told['message']}" for told in self.told]

    def until(self, count: int, seconds: float = 30) -> list[dict[str, Any]]:
        """Wait until `count` messages came, and a little for one too many."""
        end = time.monotonic() + seconds
        while len(self.told) < count and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.2)
        return self.told

    def take(self, body: bytes) -> int:
        with self.lock:
            self.told.append(json.loads(body))
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def receiving(*answers: int, port: int = 0) -> Iterator[Receiver]:
    """A receiver that listens until the story ends; at `port`, where another one listened before."""
    receiver = Receiver(list(answers) or [200])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer = receiver.take(self.rfile.read(int(self.headers["Content-Length"])))
            if answer == HANG:
                receiver.closing.wait(60)
            elif answer == DRIP:
                self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
                while not receiver.closing.wait(0.1):
                    self.wfile.write(b"x")
                    self.wfile.flush()
            else:
                self.send_response(answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def refusing() -> Iterator[str]:
    """The URL of a receiver that nobody listens at."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"json://127.0.0.1:{held.getsockname()[1]}/hooks/{TOKEN}"


@contextmanager
def black_hole() -> Iterator[str]:
    """The URL of a receiver that never takes the connection: its queue is full."""
    with socket.socket() as full, socket.socket() as filler:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        filler.connect(full.getsockname())
        yield f"json://127.0.0.1:{full.getsockname()[1]}/hooks/{TOKEN}"
