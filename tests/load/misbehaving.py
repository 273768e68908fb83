"""A small web application for the client's own tests that misbehaves on command.

It runs in a thread, answers as release `v1` (or `release`), and does to each request what `mode` says.
"""

import asyncio
import base64
import hashlib
import json
import socket
import struct
import threading
from types import TracebackType
from typing import Self

GOOD = "good"
RESET = "reset after the request"
EOF = "close after the request"
HALF = "close within the body"
HANG = "hang"
ROUTER_503 = "503 that no release made"
OWN_500 = "500 that the release made"
NOT_JSON = "wrong body"
OTHER_VERSION = "body of another release"
NAMELESS = "200 that no release made"
EXTRA = "bytes after the answer"
NOT_HTTP = "not HTTP at all"
IDLE_CLOSE = "close idle connections"
IDLE_408 = "say 408 on idle connections, and close"
WS_DROP = "drop websockets between two messages"
WS_GOODBYE = "close websockets in good order"
WS_CLOSE = "close websockets instead of an echo"
WS_LEAVE = "leave instead of an echo, for each message once"
WS_LEAVE_AGAIN = "leave instead of an echo, whatever was sent before"
WS_WRONG = "echo something else"
WS_REFUSED = "answer 404 to websockets"

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Misbehaving:
    """The server as a context manager. `port` stays the same over `refuse()` and `accept()`."""

    def __init__(self, slow_s: float = 0.2, chunked: bool = False) -> None:
        self.mode = GOOD
        self.release = "v1"
        self.orders: list[str] = []
        self.hung = 0
        self._left: set[bytes] = set()
        self._slow_s = slow_s
        self._chunked = chunked
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._listener: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        # Bound but not listening: connects are refused and nobody else gets the port.
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._holder.bind(("127.0.0.1", 0))
        self.port = int(self._holder.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        self.accept()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._holder.close()

    def accept(self) -> None:
        """Listen."""
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)

    def refuse(self) -> None:
        """Stop listening and cut every connection."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)

    async def _open(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(256)
        listener.setblocking(False)
        # Not asyncio.start_server or sock_accept: closed or cancelled at the wrong moment, both lose a
        # connection that was just accepted. A plain callback cannot.
        self._loop.add_reader(listener, self._accept_one, listener)
        self._listener = listener

    def _accept_one(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # the client left before it was accepted
        connection.setblocking(False)
        task = asyncio.create_task(self._serve(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        await asyncio.sleep(0)  # let handlers begin: one cancelled before that would not close its socket
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports close their sockets in the next round of the loop

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client left
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False when the connection is to be closed."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if self.mode == RESET:
            _reset(writer)
            return False
        if self.mode == EOF:
            return False
        if self.mode == HANG:
            self.hung += 1
            await asyncio.sleep(3600)
        if "upgrade" in headers and self.mode != ROUTER_503:
            await self._websocket(headers["sec-websocket-key"], reader, writer)
            return False
        method, path, _ = first.split(" ")
        if "/slow/" in path:
            await asyncio.sleep(self._slow_s)
        if method == "POST":
            self.orders.append(json.loads(body)["note"].split(" ")[0])
        writer.write(self._response(path))
        await writer.drain()
        if self.mode in (IDLE_CLOSE, IDLE_408):
            await asyncio.sleep(0.01)
            if self.mode == IDLE_408:
                writer.write(
                    b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
            return False
        return headers.get("connection") != "close" and self.mode not in (HALF, NOT_HTTP, ROUTER_503)

    def _response(self, path: str) -> bytes:
        named = "v0" if self.mode == OTHER_VERSION else self.release
        body = json.dumps({"version": named, "path": path}).encode()
        if path == "/":
            body = b"<html>shop</html>"
        if self.mode == NOT_HTTP:
            return b"SSH-2.0-OpenSSH_9.2\r\n\r\n"
        if self.mode == ROUTER_503:
            return b"HTTP/1.0 503 Service Unavailable\r\nContent-Type: text/html\r\n\r\n<h1>503</h1>\n"
        status = "500 Internal Server Error" if self.mode == OWN_500 else "200 OK"
        if self.mode in (NOT_JSON, OWN_500):
            body = b"oops"
        names = "" if self.mode == NAMELESS else f"X-Shop-Version: {self.release}\r\n"
        head = f"HTTP/1.1 {status}\r\n{names}"
        if self._chunked:
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:5], body[5:]))
            return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\n\r\n"
        head += f"Content-Length: {len(body) + (10 if self.mode == HALF else 0)}\r\n\r\n"
        return head.encode() + body + (b"extra" if self.mode == EXTRA else b"")

    async def _websocket(self, key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode == WS_REFUSED:
            writer.write(f"HTTP/1.1 404 Not Found\r\nX-Shop-Version: {self.release}\r\n".encode())
            writer.write(b"Content-Length: 0\r\n\r\n")
            return
        accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest())
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        writer.write(b"Sec-WebSocket-Accept: " + accept + b"\r\n" + self._name_line() + b"\r\n")
        while True:
            await writer.drain()
            message = await _read_message(reader)
            if message is None or self.mode == RESET:
                if message is not None:
                    _reset(writer)
                return
            if self.mode == WS_CLOSE:
                writer.write(b"\x88\x02" + (1011).to_bytes(2, "big"))
                return
            if self.mode == WS_LEAVE_AGAIN or (self.mode == WS_LEAVE and message not in self._left):
                self._left.add(message)
                writer.write(b"\x88\x02" + (1012).to_bytes(2, "big"))
                return
            text = b"something else" if self.mode == WS_WRONG else self.release.encode() + b":" + message
            writer.write(b"\x89\x02hi\x81" + bytes([len(text)]) + text)
            if self.mode in (WS_DROP, WS_GOODBYE):
                await asyncio.sleep(0.01)
                if self.mode == WS_GOODBYE:
                    writer.write(b"\x88\x02" + (1001).to_bytes(2, "big"))
                return

    def _name_line(self) -> bytes:
        return f"X-Shop-Version: {self.release}\r\n".encode()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Make the close of this connection a reset."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _read_message(reader: asyncio.StreamReader) -> bytes | None:
    """The next text message; None at a close frame. Pongs are passed over."""
    while True:
        first, second = await reader.readexactly(2)
        mask = await reader.readexactly(4)
        masked = await reader.readexactly(second & 0x7F)
        if first & 0x0F == 0x8:
            return None
        if first & 0x0F == 0x1:
            return bytes(byte ^ mask[i % 4] for i, byte in enumerate(masked))
