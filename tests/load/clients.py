"""The HTTP clients: keep-alive GET, new connection per GET, POST and slow requests. None ever retries."""

import asyncio
import json
import time
from dataclasses import dataclass, field

from tests.load import record
from tests.load.judge import Verdict, judge
from tests.load.plan import LoadPlan
from tests.load.recorder import Recorder
from tests.load.wire import Address, Answer, BrokenError, Wire, read_answer


@dataclass
class Shared:
    """What all clients of one run share."""

    plan: LoadPlan
    address: Address
    recorder: Recorder
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def pause(self, seconds: float) -> None:
        """Sleep, but no longer than until the run is told to stop."""
        if seconds < 0.25:
            await asyncio.sleep(seconds)
            return
        try:
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        except TimeoutError:
            return


class HttpClient:
    """One client of one kind: a request, its verdict, a pause, and again until the run stops."""

    def __init__(self, shared: Shared, kind: str, number: int, paths: tuple[str, ...]) -> None:
        self._shared = shared
        self._plan = shared.plan
        self._kind = kind
        self._name = f"{kind}-{number}"
        self._paths = paths
        self._sent = 0
        self._wire: Wire | None = None

    async def run(self) -> None:
        """Send until the run stops; a request in flight is finished first."""
        try:
            while not self._shared.stopping.is_set():
                await self._once()
                await self._shared.pause(self._plan.pacing_s)
        finally:
            self._drop()

    def _drop(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    async def _once(self) -> None:
        path = self._paths[self._sent % len(self._paths)]
        request = self._request(path)
        self._sent += 1
        start = time.monotonic()
        self._look_at_idle_connection(path)
        verdict = await self._ask(request, path)
        took = time.monotonic() - start
        self._shared.recorder.add(self._kind, path, verdict, start, took)

    def _look_at_idle_connection(self, path: str) -> None:
        """Drop a kept connection that the peer has closed since the last answer, and count it apart."""
        if self._wire is None:
            return
        try:
            alive, why = self._wire.take_waiting(), "closed while idle"
        except BrokenError as error:
            alive, why = False, error.detail
        waiting = bytes(self._wire.buffer)
        if alive and not waiting:
            return
        self._drop()
        # A 408 is how a server says farewell to an idle connection. Other bytes belong to no request.
        harmless = not waiting or waiting.startswith((b"HTTP/1.1 408", b"HTTP/1.0 408"))
        outcome = record.RECONNECT if harmless else record.WRONG_BODY
        detail = why if harmless else f"unasked bytes while idle: {waiting[:80]!r}"
        self._shared.recorder.add(
            self._kind, path, Verdict(outcome, None, None, detail), time.monotonic(), 0.0
        )

    async def _ask(self, request: bytes, path: str) -> Verdict:
        try:
            async with asyncio.timeout(self._plan.timeout_s):
                answer = await self._exchange(request)
        except BrokenError as error:
            self._drop()
            return Verdict(error.outcome, None, None, error.detail)
        except TimeoutError:
            what = "no connection" if self._wire is None else f"{self._wire.received} bytes of the answer"
            self._drop()
            return Verdict(record.TIMEOUT, None, None, f"{what} within {self._plan.timeout_s:g} s")
        unasked = len(self._wire.buffer) if self._wire is not None else 0
        if not answer.keeps or unasked or self._kind == record.FRESH:
            self._drop()
        return judge(answer, path, self._plan, unasked)

    async def _exchange(self, request: bytes) -> Answer:
        if self._wire is None:
            self._wire = await Wire.open(self._shared.address)
        self._wire.received = 0
        await self._wire.send(request)
        return await read_answer(self._wire)

    def _request(self, path: str) -> bytes:
        keep = "close" if self._kind == record.FRESH else "keep-alive"
        head = (
            f"HTTP/1.1\r\nHost: {self._plan.host_header}\r\nUser-Agent: backstay-load\r\nAccept: */*\r\n"
            f"Connection: {keep}\r\n"
        )
        if self._kind != record.POST:
            return f"GET {path} {head}\r\n".encode()
        body = self._order()
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return f"POST {path} {head}".encode() + body

    def _order(self) -> bytes:
        """An order whose note names this request, so that rows can be matched with answers."""
        order = {"product": self._plan.post_product, "quantity": 1, "note": f"{self._name}-{self._sent} "}
        missing = self._plan.post_bytes - len(json.dumps(order))
        order["note"] = f"{order['note']}{'x' * max(0, missing)}"
        return json.dumps(order).encode()
