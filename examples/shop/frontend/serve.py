"""Serves the shop's page without nginx: `python serve.py`, in a folder that holds `site/`. Standard library only.

Does what `nginx.conf` does: a path without a file gets the page, `/api/` and missing assets get 404. `@VERSION@` in
the page becomes the version. SIGTERM: stop accepting, finish answers in flight, exit 0.

SHOP_HOST  address to listen on, default 127.0.0.1
PORT       default 8080
VERSION    named in `X-Shop-Version`, default v1
"""

import http.server
import os
import signal
import sys
import threading
import time
from pathlib import Path

SITE = Path(__file__).resolve().parent / "site"
VERSION = os.environ.get("VERSION", "v1")
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
DRAIN_S = 10.0


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 75  # longer than any router keeps an idle connection
    server: "Site"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        file = self._file(path)
        if file is None or path.startswith("/api/"):
            self._answer(404, ".html", b"<h1>404 Not Found</h1>\n")
            return
        content = file.read_bytes()
        if file.suffix == ".html":
            content = content.replace(b"@VERSION@", VERSION.encode())
        self._answer(200, file.suffix, content)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """A request is not worth a line."""

    def _file(self, path: str) -> Path | None:
        file = (SITE / path.lstrip("/")).resolve()
        if file.is_relative_to(SITE) and file.is_file():
            return file
        return None if path.startswith("/assets/") else SITE / "index.html"

    def _answer(self, status: int, suffix: str, content: bytes) -> None:
        with self.server.busy:
            self.send_response(status)
            self.send_header(
                "Content-Type", f"{TYPES.get(suffix, 'application/octet-stream')}; charset=utf-8"
            )
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-cache")
            self.send_header("X-Shop-Version", VERSION)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)


class Busy:
    """Counts answers in flight."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    def __enter__(self) -> None:
        with self._lock:
            self.count += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.count -= 1


class Site(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    busy = Busy()


def main() -> int:
    host, port = os.environ.get("SHOP_HOST", "127.0.0.1"), int(os.environ.get("PORT", "8080"))
    with Site((host, port), Page) as site:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=site.shutdown).start())
        site.serve_forever(poll_interval=0.1)
        end = time.monotonic() + DRAIN_S
        while site.busy.count and time.monotonic() < end:
            time.sleep(0.02)
    return 0


if __name__ == "__main__":
    sys.exit(main())
