"""One line per request: when it was sent, how long it took, who answered, and how it ended."""

import json
import sys
from typing import NamedTuple

KEEP_ALIVE = "keep-alive"
FRESH = "fresh"
POST = "post"
SLOW = "slow"
WEBSOCKET = "websocket"
KINDS = (KEEP_ALIVE, FRESH, POST, SLOW, WEBSOCKET)

OK = "ok"
BAD_ANSWER = "bad-answer"
"""A non-2xx answer that a release itself made."""
RECONNECT = "reconnect"
"""A connection was closed in good order: while idle, before a byte of the next request was written, or a websocket
whose server leaves (close code 1001 or 1012). A message under way then is sent again, and must be answered."""

REFUSED = "refused"
UNREACHABLE = "unreachable"
RESET = "reset"
EOF = "eof"
TIMEOUT = "timeout"
STATUS = "status"
"""A non-2xx answer that no release made, such as the router's own 503."""
WRONG_BODY = "wrong-body"
NOT_HTTP = "not-http"
WS_CLOSE = "ws-close"
"""A websocket closed in place of an echo, and not because its server leaves, or once more on the second try."""
CLIENT = "client"
"""The load client's own machine is at its end (no ports, no file descriptors)."""

FAILED_OUTCOMES = frozenset(
    {REFUSED, UNREACHABLE, RESET, EOF, TIMEOUT, STATUS, WRONG_BODY, NOT_HTTP, WS_CLOSE, CLIENT}
)


class Record(NamedTuple):
    """One request, websocket handshake or websocket message. Times are wall clock seconds.

    `routed` is when the router had to choose a release for it: the start of the request, or for a
    websocket message the start of its handshake.
    """

    time: float
    took_s: float
    kind: str
    path: str
    release: str | None
    outcome: str
    status: int | None
    routed: float
    detail: str

    @property
    def ended(self) -> float:
        """When the answer was complete, or the failure was seen."""
        return self.time + self.took_s

    @property
    def failed(self) -> bool:
        """Whether this is a failure of the service and not an answer of a release."""
        return self.outcome in FAILED_OUTCOMES

    def to_line(self) -> str:
        """This record as one line of JSON."""
        return json.dumps(
            [round(self.time, 6), round(self.took_s, 6), *self[2:7], round(self.routed, 6), self.detail]
        )


def from_fields(fields: list[object]) -> Record:
    """The record of one parsed line; equal strings share one object to keep 100,000 records small."""
    shared = [sys.intern(field) if isinstance(field, str) else field for field in fields]
    return Record(*shared)  # type: ignore[arg-type]
