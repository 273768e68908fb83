"""A TCP connection and the reading of HTTP/1.1 answers, with every loss raised under its own name."""

import asyncio
import errno
import socket
from dataclasses import dataclass

from tests.load import record

MAX_HEAD = 64 * 1024
MAX_BODY = 16 * 1024 * 1024
_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN}


class BrokenError(Exception):
    """A request that got no whole answer; `outcome` is one of `record.FAILED_OUTCOMES`."""

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(f"{outcome}: {detail}")
        self.outcome = outcome
        self.detail = detail


@dataclass(frozen=True)
class Address:
    """A resolved TCP address."""

    family: socket.AddressFamily
    target: tuple[str, int]

    @classmethod
    def resolve(cls, host: str, port: int) -> "Address":
        """The first address of `host`; raises OSError when it has none."""
        family, _, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return cls(family, (str(target[0]), int(target[1])))


def _broken(error: OSError, doing: str) -> BrokenError:
    if isinstance(error, ConnectionRefusedError):
        outcome = record.REFUSED
    elif isinstance(error, ConnectionResetError | BrokenPipeError | ConnectionAbortedError):
        outcome = record.RESET
    elif isinstance(error, TimeoutError):
        outcome = record.TIMEOUT
    elif error.errno in _UNREACHABLE:
        outcome = record.UNREACHABLE
    else:
        outcome = record.CLIENT
    return BrokenError(outcome, f"while {doing}: {error}")


class Wire:
    """One connection with a read buffer. Not shared between tasks."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self.buffer = bytearray()
        self.received = 0

    @classmethod
    async def open(cls, address: Address) -> "Wire":
        """Connect; raises BrokenError."""
        try:
            sock = socket.socket(address.family, socket.SOCK_STREAM)
        except OSError as error:
            raise _broken(error, "making a socket") from error
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(sock, address.target)
        except OSError as error:
            sock.close()
            raise _broken(error, "connecting") from error
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    def close(self) -> None:
        """Close the connection; harmless when it is closed."""
        self._sock.close()

    async def send(self, data: bytes) -> None:
        """Write all of `data`; raises BrokenError."""
        try:
            await self._loop.sock_sendall(self._sock, data)
        except OSError as error:
            raise _broken(error, "sending") from error

    def take_waiting(self) -> bool:
        """Move what has come unasked into the buffer, without waiting; False when the peer has closed."""
        while True:
            try:
                data = self._sock.recv(65536)
            except BlockingIOError:
                return True
            except OSError as error:
                raise _broken(error, "idle") from error
            if not data:
                return False
            self.buffer += data

    async def fill(self) -> bool:
        """Wait for more bytes; False at the end of the stream. Raises BrokenError."""
        try:
            data = await self._loop.sock_recv(self._sock, 65536)
        except OSError as error:
            raise _broken(error, f"reading, after {self.received} bytes") from error
        self.buffer += data
        self.received += len(data)
        return bool(data)

    async def need(self) -> None:
        """Wait for more bytes; raises BrokenError, also at the end of the stream."""
        if not await self.fill():
            raise BrokenError(record.EOF, f"closed after {self.received} bytes of the answer")

    def take(self, count: int) -> bytes:
        """Remove and return the first `count` bytes of the buffer."""
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    async def until(self, mark: bytes) -> bytes:
        """The bytes before `mark`, which is removed too; raises BrokenError."""
        while (found := self.buffer.find(mark)) < 0:
            if len(self.buffer) > MAX_HEAD:
                raise BrokenError(record.NOT_HTTP, f"no line end within {MAX_HEAD} bytes")
            await self.need()
        data = self.take(found)
        self.take(len(mark))
        return data

    async def exactly(self, count: int) -> bytes:
        """The next `count` bytes; raises BrokenError."""
        if count > MAX_BODY:
            raise BrokenError(record.WRONG_BODY, f"a body of {count} bytes is over the limit of {MAX_BODY}")
        while len(self.buffer) < count:
            await self.need()
        return self.take(count)


@dataclass(frozen=True)
class Answer:
    """One whole HTTP answer; header names are in lower case. `keeps` says whether the connection stays."""

    status: int
    headers: dict[str, str]
    body: bytes
    keeps: bool


async def read_head(wire: Wire) -> tuple[int, dict[str, str], bool]:
    """Status, headers and whether the connection stays open; interim 1xx heads but 101 are passed over."""
    while True:
        head = (await wire.until(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        parts = first.split(" ", 2)
        if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
            raise BrokenError(record.NOT_HTTP, f"status line {first[:80]!r}")
        status = int(parts[1])
        if status >= 200 or status == 101:
            break
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise BrokenError(record.NOT_HTTP, f"header line {line[:80]!r}")
        headers[name.lower()] = value.strip()
    connection = headers.get("connection", "").lower()
    keeps = "close" not in connection and (parts[0] != "HTTP/1.0" or "keep-alive" in connection)
    return status, headers, keeps


async def read_body(wire: Wire, status: int, headers: dict[str, str]) -> tuple[bytes, bool]:
    """The body and whether its end was marked (if not, it ended with the connection)."""
    if status in (204, 304):
        return b"", True
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _read_chunks(wire), True
    length = headers.get("content-length")
    if length is not None:
        if not length.isdigit():
            raise BrokenError(record.NOT_HTTP, f"content-length {length[:40]!r}")
        return await wire.exactly(int(length)), True
    while await wire.fill():
        if len(wire.buffer) > MAX_BODY:
            raise BrokenError(record.WRONG_BODY, f"the body is over the limit of {MAX_BODY} bytes")
    return wire.take(len(wire.buffer)), False


async def _read_chunks(wire: Wire) -> bytes:
    body = bytearray()
    while True:
        text = (await wire.until(b"\r\n")).split(b";")[0].strip()
        try:
            size = int(text, 16)
        except ValueError as error:
            raise BrokenError(record.NOT_HTTP, f"chunk size {bytes(text[:40])!r}") from error
        if size == 0:
            while await wire.until(b"\r\n"):
                pass
            return bytes(body)
        body += await wire.exactly(size)
        if await wire.exactly(2) != b"\r\n":
            raise BrokenError(record.NOT_HTTP, "a chunk without its line end")
        if len(body) > MAX_BODY:
            raise BrokenError(record.WRONG_BODY, f"the body is over the limit of {MAX_BODY} bytes")


async def read_answer(wire: Wire) -> Answer:
    """One whole answer; raises BrokenError."""
    status, headers, keeps = await read_head(wire)
    body, marked = await read_body(wire, status, headers)
    return Answer(status, headers, body, keeps and marked)
