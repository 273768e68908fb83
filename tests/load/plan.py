"""What a load run sends, to whom, and its hard bounds."""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class LoadPlan:
    """One run of the load client. Times are in seconds; a client count of 0 leaves that kind out.
    An empty `page_path` leaves the page out.

    `pacing_s` is the pause of one client between two requests, `ws_pacing_s` between two websocket
    messages. `timeout_s` bounds one request from connect to the last byte of the answer.
    `get_path`, `post_path` and `slow_path` must answer with JSON, `page_path` with text that contains
    `page_contains`; a JSON object with a `version` must name the release of its header.
    An empty `release_header` means that no release is expected to name itself.
    The run ends by itself after `max_requests` or `max_seconds`, and the report says so.
    """

    host: str
    port: int
    get_path: str = "/api/v1/products/"
    post_path: str = "/api/v1/orders/"
    page_path: str = "/"
    slow_path: str = "/api/v1/slow/?ms=5000"
    ws_path: str = "/api/v1/echo/"
    keep_alive: int = 8
    fresh: int = 4
    posts: int = 4
    slow: int = 3
    websockets: int = 3
    pacing_s: float = 0.03
    ws_pacing_s: float = 0.05
    timeout_s: float = 15.0
    host_header: str = "localhost"
    release_header: str = "X-Shop-Version"
    page_contains: str = "</html>"
    post_product: int = 1
    post_bytes: int = 4096
    max_requests: int = 500_000
    max_seconds: float = 3600.0

    def to_json(self) -> str:
        """This plan as text for the client's own process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "LoadPlan":
        """The plan that `to_json` wrote; raises TypeError for an unknown or missing field."""
        return cls(**json.loads(text))
