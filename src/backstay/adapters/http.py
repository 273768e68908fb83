"""One request, one answer. Over the standard library: importing a client would take longer than the request."""

from __future__ import annotations

import http.client
import io
import json
import socket
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from backstay.adapters.deadline import Deadline, connected
from backstay.domain.header import joined
from backstay.domain.smoke import Answer, Certificate

BODY_LIMIT = 1024 * 1024
"""Bytes of a body that are read; the rest of a larger one is not needed to judge it."""

CHUNK = 64 * 1024
KEPT_IN_PATHS = "%/?:@!$&'()*+,;=~-._[]#"
"""What a path may hold as it is; anything else is percent-encoded (RFC 3986, 3.3 and 3.4)."""


class HttpProber:
    """Implements ports.prober.Prober. No proxy, no redirect, no retry, a new connection per request."""

    def ask(
        self,
        host: str,
        port: int,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        deadline_s: float = 2.0,
        tls: bool = False,
    ) -> Answer:
        began = time.monotonic()
        sent = joined({"User-Agent": "backstay", "Connection": "close"}, headers or {})
        connection = _Connection(host, port, Deadline(deadline_s), tls)
        try:
            connection.request(method, quote(path, safe=KEPT_IN_PATHS), headers=sent)
            response = connection.getresponse()
            body = _beginning_of(response)
        except TimeoutError:
            return _silence(f"no whole answer within {deadline_s:g} s", began)
        except ConnectionRefusedError:
            return _silence(f"nothing listens on {host}:{port}", began)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return _silence(_words(error), began)
        finally:
            connection.close()
        received = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, received, body, time.monotonic() - began)

    def certificate(self, host: str, port: int, *, deadline_s: float = 5.0) -> Certificate:
        from backstay.adapters.tls import certificate

        return certificate(host, port, Deadline(deadline_s))

    def find_json(self, body: bytes, path: str) -> tuple[bool, Any]:
        import jsonpath

        try:
            match = jsonpath.match(path, json.loads(body))
        except (ValueError, RecursionError, jsonpath.JSONPathError):
            return False, None
        return (True, match.obj) if match is not None else (False, None)


class _Lines(io.BufferedReader):
    """Takes the end of the stream inside a head for what it is: http.client would take it for the head's end."""

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(-1 if size is None else size)
        if not line:
            raise http.client.RemoteDisconnected("the stream ended inside a head")
        return line


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = _Lines(self.fp.detach())


class _Connection(http.client.HTTPConnection):
    """A connection that is cut at its deadline."""

    response_class = _Response

    def __init__(self, host: str, port: int, deadline: Deadline, tls: bool) -> None:
        super().__init__(host, port)
        self._deadline = deadline
        self._tls = tls

    def connect(self) -> None:
        self.sock = connected(self.host, self.port, self._deadline)
        if self._tls:
            from backstay.adapters.tls import encrypted

            self.sock = encrypted(self.sock, self.host, self._deadline)


def _beginning_of(response: http.client.HTTPResponse) -> bytes:
    """The body, or a little more than BODY_LIMIT of it. IncompleteRead when the connection ended early."""
    body = bytearray()
    while len(body) <= BODY_LIMIT and (chunk := response.read1(CHUNK)):
        body += chunk
    if response.length and len(body) <= BODY_LIMIT:
        raise http.client.IncompleteRead(bytes(body), response.length)
    return bytes(body)


def _words(error: Exception) -> str:
    """Why no answer came, with the kind of error first: the words alone are often only a detail."""
    if isinstance(error, http.client.RemoteDisconnected | ConnectionError):
        return f"the connection was closed before the answer was whole ({type(error).__name__})"
    if isinstance(error, http.client.IncompleteRead):
        return f"the connection was closed before the answer was whole ({error.expected} bytes missing)"
    if isinstance(error, http.client.BadStatusLine):
        return f"Protocol error: it answered {error}"
    return f"{type(error).__name__}: {error}"


def _silence(error: str, began: float) -> Answer:
    return Answer(error=error, took_s=time.monotonic() - began)
