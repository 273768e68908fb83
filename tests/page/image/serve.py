"""The smallest site that names its release. RULES (JSON in the environment): sick, eats_after_s, eats_after_visit_s,
listens_after_s."""

from __future__ import annotations

import json
import os
import signal
import socketserver
import threading
import time

VERSION = os.environ["VERSION"]
RULES = json.loads(os.environ.get("RULES", "{}"))
PAGE = b"<!doctype html><html><title>page</title></html>"
VISITED = threading.Event()
"""Somebody asked for /version: no probe and no smoke test does."""


class Answers(socketserver.StreamRequestHandler):
    """Requests of one connection, one after another; only GET without a body."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        while (line := self.rfile.readline()).strip():
            path = line.split()[1].decode()
            closes = False
            while (header := self.rfile.readline()).strip():
                closes = closes or header.lower().strip() == b"connection: close"
            self.answer(path, closes)
            if closes:
                return

    def answer(self, path: str, closes: bool) -> None:
        if path.startswith("/slow"):
            time.sleep(1)
        if path == "/version":
            VISITED.set()
        status = b"503 Sick" if RULES.get("sick") and path == "/health" else b"200 OK"
        body = json.dumps({"version": VERSION}).encode() if path.startswith(("/version", "/slow")) else PAGE
        keeps = b"close" if closes else b"keep-alive"
        self.wfile.write(
            b"HTTP/1.1 %b\r\nX-Shop-Version: %b\r\nConnection: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (status, VERSION.encode(), keeps, len(body), body)
        )


class Site(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 512

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is not worth a line."""


def eat_when_visited() -> None:
    VISITED.wait()
    time.sleep(RULES["eats_after_visit_s"])
    eat()


def eat() -> None:
    """Take memory until the kernel says no."""
    eaten = []
    while True:
        eaten.append(bytearray(os.urandom(1)) * (8 * 1024 * 1024))
        time.sleep(0.005)


print("serving", VERSION, flush=True)
if "eats_after_s" in RULES:
    threading.Timer(RULES["eats_after_s"], eat).start()
if "eats_after_visit_s" in RULES:
    threading.Thread(target=eat_when_visited, daemon=True).start()
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
time.sleep(RULES.get("listens_after_s", 0))
Site(("0.0.0.0", int(os.environ["PORT"])), Answers).serve_forever()
