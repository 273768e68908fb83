"""The websocket client: it keeps one connection, sends a message every 50 ms and checks each echo."""

import asyncio
import re
import time

from tests.load import record
from tests.load.clients import Shared
from tests.load.judge import Verdict, judge, release_of
from tests.load.websocket import CLOSE, PING, PONG, TEXT, accept_for, encode, new_key, next_frame, read_frame
from tests.load.wire import Answer, BrokenError, Wire, read_body, read_head

LEAVES = (1001, 1012)
"""Close codes of a server that goes away or starts anew (RFC 6455, 7.4.1, and IANA's registry)."""
_ECHO = re.compile(r"(v[^:\s]*):(.*)", re.DOTALL)


class EchoClient:
    """One websocket at a time. A handshake and each message count as one request of kind `websocket`.

    A close frame while no message is under way is a reconnect. A connection lost without one is a
    failure, and so is a message that gets no echo. Where the server says that it leaves, a message that
    crossed its words on the way is sent once more by the next connection, as any client must: who closes
    need not read on (RFC 6455, 5.5.1).
    """

    def __init__(self, shared: Shared, number: int) -> None:
        self._shared = shared
        self._plan = shared.plan
        self._number = number
        self._sent = 0
        self._is_again = False
        self._release: str | None = None
        self._routed = 0.0

    async def run(self) -> None:
        """Echo until the run stops, with a new connection whenever the old one is gone."""
        while not self._shared.stopping.is_set():
            wire = await self._connect()
            if wire is not None:
                try:
                    await self._talk(wire)
                finally:
                    wire.close()
            await self._shared.pause(self._plan.ws_pacing_s)

    def _add(self, verdict: Verdict, start: float) -> None:
        took = time.monotonic() - start
        self._shared.recorder.add(record.WEBSOCKET, self._plan.ws_path, verdict, start, took, self._routed)

    def _lost(self, outcome: str, detail: str) -> Verdict:
        return Verdict(outcome, self._release, None, detail)

    async def _connect(self) -> Wire | None:
        self._release, self._routed = None, time.monotonic()
        wire: Wire | None = None
        try:
            async with asyncio.timeout(self._plan.timeout_s):
                wire = await Wire.open(self._shared.address)
                verdict = await self._handshake(wire)
        except BrokenError as error:
            verdict = self._lost(error.outcome, f"handshake: {error.detail}")
        except TimeoutError:
            verdict = self._lost(record.TIMEOUT, f"handshake: not done within {self._plan.timeout_s:g} s")
        except BaseException:
            if wire is not None:
                wire.close()
            raise
        self._add(verdict, self._routed)
        if verdict.outcome == record.OK:
            return wire
        if wire is not None:
            wire.close()
        return None

    async def _handshake(self, wire: Wire) -> Verdict:
        key = new_key()
        await wire.send(
            f"GET {self._plan.ws_path} HTTP/1.1\r\nHost: {self._plan.host_header}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        status, headers, keeps = await read_head(wire)
        if status != 101:
            body, _ = await read_body(wire, status, headers)
            verdict = judge(Answer(status, headers, body, keeps), self._plan.ws_path, self._plan, 0)
            if 200 <= status < 300:
                return verdict._replace(outcome=record.WRONG_BODY, detail="no websocket, a plain answer")
            return verdict
        self._release = release_of(headers, self._plan)
        if headers.get("sec-websocket-accept") != accept_for(key):
            return Verdict(record.WRONG_BODY, self._release, status, "a wrong Sec-WebSocket-Accept")
        return Verdict(record.OK, self._release, status, "handshake")

    async def _talk(self, wire: Wire) -> None:
        """Send and check messages until the connection is lost or the run stops."""
        while not self._shared.stopping.is_set():
            start = time.monotonic()
            verdict = await self._idle_verdict(wire) or await self._echo(wire)
            self._add(verdict, start)
            if verdict.outcome != record.OK:
                return
            await self._shared.pause(self._plan.ws_pacing_s)
        await self._say_goodbye(wire)

    async def _say_goodbye(self, wire: Wire) -> None:
        verdict = await self._idle_verdict(wire)
        if verdict is None:
            try:
                await wire.send(encode(CLOSE, (1000).to_bytes(2, "big")))
            except BrokenError as error:
                verdict = self._lost(error.outcome, f"at the end: {error.detail}")
        if verdict is not None:
            self._add(verdict, time.monotonic())

    async def _idle_verdict(self, wire: Wire) -> Verdict | None:
        """What became of the connection since the last echo; None when it lives."""
        try:
            alive = wire.take_waiting()
            while (frame := next_frame(wire)) is not None:
                if frame.opcode == PING:
                    await wire.send(encode(PONG, frame.payload))
                elif frame.opcode == CLOSE:
                    return self._lost(record.RECONNECT, f"closed with {frame.close_code} while idle")
                elif frame.opcode != PONG:
                    return self._lost(record.WRONG_BODY, f"an unasked message: {frame.payload[:80]!r}")
        except BrokenError as error:
            return self._lost(error.outcome, f"between two messages: {error.detail}")
        return (
            None if alive else self._lost(record.EOF, "dropped between two messages, without a close frame")
        )

    async def _echo(self, wire: Wire) -> Verdict:
        was_again, self._is_again = self._is_again, False
        self._sent += not was_again
        message = f"load-{self._number}-{self._sent}"
        wire.received = 0
        try:
            async with asyncio.timeout(self._plan.timeout_s):
                await wire.send(encode(TEXT, message.encode()))
                frame = await read_frame(wire)
        except BrokenError as error:
            return self._lost(error.outcome, f"waiting for an echo: {error.detail}")
        except TimeoutError:
            return self._lost(record.TIMEOUT, f"no echo within {self._plan.timeout_s:g} s")
        if frame.opcode == CLOSE:
            self._is_again = frame.close_code in LEAVES and not was_again
            outcome = record.RECONNECT if self._is_again else record.WS_CLOSE
            return self._lost(outcome, f"closed with {frame.close_code} instead of an echo")
        match = _ECHO.fullmatch(frame.payload.decode("utf-8", "replace"))
        if match is None or match[2] != message or frame.opcode != TEXT:
            return self._lost(record.WRONG_BODY, f"sent {message!r}, got {frame.payload[:80]!r}")
        self._release = match[1]
        return self._lost(record.OK, "")
