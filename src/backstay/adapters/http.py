"""One request, one answer, over httpx2."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
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
        try:
            with self._http().stream(
                method, f"http://{shown}:{port}{path}", headers=sent, timeout=deadline_s
            ) as response:
                body = bytearray()
                for chunk in response.iter_bytes():
                    body += chunk
                    if time.monotonic() - began > deadline_s:
                        return _silence(f"no whole answer within {deadline_s:g} s", began)
                    if len(body) > BODY_LIMIT:
                        break
                received = {k.lower(): v for k, v in response.headers.items()}
                return Answer(response.status_code, received, bytes(body), time.monotonic() - began)
        except httpx2.TimeoutException:
            return _silence(f"no answer within {deadline_s:g} s", began)
        except httpx2.ConnectError:
            return _silence(f"nothing listens on {host}:{port}", began)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            return _silence(f"{type(error).__name__}: {error}", began)

    def find_json(self, body: bytes, path: str) -> tuple[bool, Any]:
        import jsonpath

        try:
            match = jsonpath.match(path, json.loads(body))
        except (ValueError, jsonpath.JSONPathError):
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


def _silence(error: str, began: float) -> Answer:
    return Answer(error=error, took_s=time.monotonic() - began)
