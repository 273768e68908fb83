"""A connection to the engine on which no call outlives its deadline.

The SDK bounds every single read, and for a pull not even that. Here the socket itself knows the deadline of
the call it serves, so a daemon that hangs, trickles or stalls half-way through a stream is given up in time.

Imported at first use only: the SDK takes a tenth of a second to load, which `backstay --help` need not pay.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from docker import APIClient
from docker.transport.unixconn import UnixHTTPAdapter, UnixHTTPConnection, UnixHTTPConnectionPool

from backstay.adapters.deadline import Deadline, DeadlineSocket

BASE_URL: Final = "http+docker://"
# Old enough for every engine we may meet; used only to ask an engine for its own version.
OLDEST_API: Final = "1.41"


class _Connection(UnixHTTPConnection):
    def __init__(self, path: str, sockets: list[DeadlineSocket], deadline: Deadline) -> None:
        super().__init__("localhost", path)
        self._sockets = sockets
        self._deadline = deadline

    def connect(self) -> None:
        made = DeadlineSocket(socket.AF_UNIX, self._deadline)
        self._sockets.append(made)
        made.connect(self.unix_socket)
        self.sock = made


class _Pool(UnixHTTPConnectionPool):
    def __init__(self, url: str, path: str, sockets: list[DeadlineSocket], deadline: Deadline) -> None:
        super().__init__(url, path)
        self._sockets = sockets
        self._deadline = deadline

    def _new_conn(self) -> Any:
        return _Connection(self.socket_path, self._sockets, self._deadline)


class _Adapter(UnixHTTPAdapter):
    """Hands out connections that share one deadline, and closes each of them in the end."""

    def __init__(self, path: str, deadline: Deadline) -> None:
        super().__init__(f"http+unix://{path}")
        self._deadline = deadline
        self._sockets: list[DeadlineSocket] = []

    def get_connection(self, url: bytes | str, proxies: Any = None) -> _Pool:
        return _Pool(str(url), self.socket_path, self._sockets, self._deadline)

    def close(self) -> None:
        super().close()
        for made in self._sockets:
            made.end()


@contextmanager
def connect(path: str, version: str | None, seconds: float) -> Iterator[APIClient]:
    """A client of the engine at the socket `path` for one call that may take `seconds` in all.

    `version` is the API version to speak; None asks the engine for its newest. Errors are those of the SDK,
    requests, urllib3 and the socket: the caller translates them.
    """
    deadline = Deadline(seconds)
    if version is None:
        with _client(path, OLDEST_API, deadline) as asking:
            version = str(asking.version(api_version=False)["ApiVersion"])
    with _client(path, version, deadline) as client:
        yield client


@contextmanager
def _client(path: str, version: str, deadline: Deadline) -> Iterator[APIClient]:
    client = APIClient(f"unix://{path}", version=version)
    # Neither a proxy nor a .netrc of the environment has a say in talking to a local socket.
    client.trust_env = False
    client.mount(BASE_URL, _Adapter(path, deadline))
    try:
        yield client
    finally:
        client.close()
