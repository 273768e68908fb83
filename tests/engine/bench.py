"""What a contract test needs of any engine: the engine itself and something it can run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from backstay.ports.engine import ContainerSpec, Engine

SERVER = (
    "import http.server, os\n"
    "class Answer(http.server.BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        self.send_response(200); self.end_headers(); self.wfile.write(os.environ['WORD'].encode())\n"
    "    def log_message(self, *_): pass\n"
    "http.server.HTTPServer(('0.0.0.0', int(os.environ['PORT'])), Answer).serve_forever()\n"
)


@dataclass(frozen=True)
class Bench:
    """An engine with an image that has python3, a network, and labels that no other test uses.

    An engine added later needs only another fixture that makes one of these.
    """

    engine: Engine
    image: str
    network: str
    labels: Mapping[str, str]
    prefix: str

    def spec(self, name: str, script: str, **changes: Any) -> ContainerSpec:
        """A container that runs a Python script."""
        base = ContainerSpec(
            name=f"{self.prefix}-{name}",
            image=self.image,
            network=self.network,
            labels=self.labels,
            command=("python3", "-u", "-c", script),
        )
        return replace(base, **changes)

    def server(self, name: str, **changes: Any) -> ContainerSpec:
        """A web server whose answer is the value of WORD, on a published port."""
        values = {"env": {"WORD": "hello", "PORT": "8000"}, "published": 8000, **changes}
        return self.spec(name, SERVER, **values)


def until(true: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Wait until `true()`; AssertionError naming `what` when it does not come."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)
