"""The client side of a websocket, as much of RFC 6455 as an echo needs: whole frames, ping, close."""

import base64
import hashlib
import os
from typing import NamedTuple

from tests.load import record
from tests.load.wire import BrokenError, Wire

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Frame(NamedTuple):
    """One whole frame from the server."""

    opcode: int
    payload: bytes

    @property
    def close_code(self) -> int:
        """The code of a close frame; 1005 when it carries none."""
        return int.from_bytes(self.payload[:2], "big") if len(self.payload) >= 2 else 1005


def new_key() -> str:
    """A fresh Sec-WebSocket-Key."""
    return base64.b64encode(os.urandom(16)).decode()


def accept_for(key: str) -> str:
    """The Sec-WebSocket-Accept that a server must answer to `key`."""
    return base64.b64encode(hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode()


def encode(opcode: int, payload: bytes) -> bytes:
    """A masked frame; raises ValueError over 125 bytes, more than this client ever sends."""
    if len(payload) > 125:
        raise ValueError(f"a payload of {len(payload)} bytes is too long for this client")
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked


def next_frame(wire: Wire) -> Frame | None:
    """Take one whole frame from the buffer, or None when it holds less; raises BrokenError."""
    data = wire.buffer
    if len(data) < 2:
        return None
    if not data[0] & 0x80 or data[0] & 0x70 or data[1] & 0x80:
        raise BrokenError(record.WRONG_BODY, f"a frame this client does not know: {bytes(data[:2]).hex()}")
    length, start = data[1], 2
    if length >= 126:
        start = 4 if length == 126 else 10
        if len(data) < start:
            return None
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length:
        return None
    frame = Frame(data[0] & 0x0F, bytes(data[start : start + length]))
    wire.take(start + length)
    return frame


async def read_frame(wire: Wire) -> Frame:
    """The next whole frame but pings, which are answered on the way; raises BrokenError."""
    while True:
        frame = next_frame(wire)
        if frame is None:
            await wire.need()
        elif frame.opcode == PING:
            await wire.send(encode(PONG, frame.payload))
        elif frame.opcode != PONG:
            return frame
