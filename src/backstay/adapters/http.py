"""One request, one answer, over httpx2."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from backstay.domain.smoke import Answer

if TYPE_CHECKING:
    import httpx2

BODY_LIMIT = 1024 * 1024
"""Bytes of a body that are read; the rest of a larger one is not needed to judge it."""


class HttpProber:
    """Implements ports.prober.Prober. No proxy, no redirect, no retry, a new connection per request."""

    def __init__(self) -> None:
        self._client: httpx2.Client | None = None

    def ask(
        self,
        host: str,
        port: int,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        deadline_s: float = 2.0,
    ) -> Answer:
        import httpx2

        began = time.monotonic()
        shown = f"[{host}]" if ":" in host else host
        sent = {"User-Agent": "backstay", "Connection": "close", **(headers or {})}
        cut = _Cut(deadline_s)
        try:
            with (
                cut,
                self._http().stream(
                    method,
                    f"http://{shown}:{port}{path}",
                    headers=sent,
                    timeout=deadline_s,
                    extensions={"trace": cut.watch},
                ) as response,
            ):
                body = bytearray()
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > BODY_LIMIT:
                        break
                if cut.fired:
                    return _silence(f"no whole answer within {deadline_s:g} s", began)
                received = {k.lower(): v for k, v in response.headers.items()}
                return Answer(response.status_code, received, bytes(body), time.monotonic() - began)
        except httpx2.ConnectError:
            return _silence(f"nothing listens on {host}:{port}", began)
        except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError) as error:
            if cut.fired or isinstance(error, httpx2.TimeoutException):
                return _silence(f"no whole answer within {deadline_s:g} s", began)
            return _silence(f"{type(error).__name__}: {error}", began)

    def find_json(self, body: bytes, path: str) -> tuple[bool, Any]:
        import jsonpath

        try:
            match = jsonpath.match(path, json.loads(body))
        except (ValueError, RecursionError, jsonpath.JSONPathError):
            return False, None
        return (True, match.obj) if match is not None else (False, None)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def _http(self) -> httpx2.Client:
        if self._client is None:
            import httpx2

            self._client = httpx2.Client(trust_env=False, limits=httpx2.Limits(max_keepalive_connections=0))
        return self._client


class _Cut:
    """Ends a connection at a deadline in seconds.

    The client's own timeouts begin anew with every byte, so a server that drips bytes would hold us for ever.
    """

    def __init__(self, deadline_s: float) -> None:
        self.fired = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(deadline_s, self._fire)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()

    def watch(self, event: str, info: Mapping[str, Any]) -> None:
        """Told by the client what it does; learns the socket."""
        if event == "connection.connect_tcp.complete":
            self._socket = info["return_value"].get_extra_info("socket")
            if self.fired:
                self._shut()

    def _fire(self) -> None:
        self.fired = True
        self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it has ended already
                self._socket.shutdown(socket.SHUT_RDWR)


def _silence(error: str, began: float) -> Answer:
    return Answer(error=error, took_s=time.monotonic() - began)


def preload() -> None:
    """Import httpx2 now rather than at the first request."""
    import httpx2  # noqa: F401
