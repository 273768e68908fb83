"""The process of the load client: `python -m tests.load.worker FOLDER PARENT_PID OFFSET`.

FOLDER holds `plan.json` and gets `records.jsonl`. A byte on standard input, SIGTERM or SIGINT ends the
run in good order: no new request, those in flight are finished. When the parent is gone (end of standard
input, or another parent process) it stops at once and removes FOLDER, which nobody will read.
"""

import asyncio
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from tests.load import record
from tests.load.clients import HttpClient, Shared
from tests.load.echo import EchoClient
from tests.load.plan import LoadPlan
from tests.load.recorder import Recorder
from tests.load.wire import Address

_TICK_S = 0.1


class Run:
    """One run of all clients, with what can end it."""

    def __init__(self, folder: Path, parent: int, offset: float) -> None:
        self._plan = LoadPlan.from_json((folder / "plan.json").read_text(encoding="utf-8"))
        self._parent = parent
        recorder = Recorder(
            folder / "records.jsonl", offset, self._plan.max_requests, lambda: self._stop("max_requests")
        )
        address = Address.resolve(self._plan.host, self._plan.port)
        self._shared = Shared(self._plan, address, recorder)
        self._ended_by = ""
        self._lag_s = 0.0
        self._orphan = asyncio.Event()

    def _stop(self, reason: str) -> None:
        self._ended_by = self._ended_by or reason
        self._shared.stopping.set()

    def _on_stdin(self) -> None:
        if os.read(0, 64):
            self._stop("stopped")
        else:
            self._orphan.set()
        asyncio.get_running_loop().remove_reader(0)

    def _clients(self) -> list[HttpClient | EchoClient]:
        plan, shared = self._plan, self._shared
        kinds = (
            (record.KEEP_ALIVE, plan.keep_alive, (plan.get_path,)),
            (record.FRESH, plan.fresh, tuple(filter(None, (plan.page_path, plan.get_path)))),
            (record.POST, plan.posts, (plan.post_path,)),
            (record.SLOW, plan.slow, (plan.slow_path,)),
        )
        clients: list[HttpClient | EchoClient] = [
            HttpClient(shared, kind, number, paths) for kind, count, paths in kinds for number in range(count)
        ]
        return clients + [EchoClient(shared, number) for number in range(plan.websockets)]

    async def _start(self, client: HttpClient | EchoClient, place: float) -> None:
        # Spread over one pause, so that the clients do not march in step.
        await self._shared.pause(place * self._plan.pacing_s)
        await client.run()

    async def _watch(self) -> None:
        """Flush the records, keep the time bound, and notice a lost parent or a held-up client."""
        begun = time.monotonic()
        while True:
            before = time.monotonic()
            await asyncio.sleep(_TICK_S)
            lag = round(time.monotonic() - before - _TICK_S, 3)
            if lag > self._lag_s:
                self._lag_s = lag
                self._shared.recorder.note(lag_s=lag)
            self._shared.recorder.flush()
            if before - begun > self._plan.max_seconds:
                self._stop("max_seconds")
            if os.getppid() != self._parent:
                self._orphan.set()

    async def _send_all(self) -> None:
        clients = self._clients()
        async with asyncio.TaskGroup() as group:
            for number, client in enumerate(clients):
                group.create_task(self._start(client, number / len(clients)))

    async def run(self) -> bool:
        """Run to the end; False when the parent is gone. A defect of the client itself is raised."""
        loop = asyncio.get_running_loop()
        loop.add_reader(0, self._on_stdin)
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop, name.name)
        self._shared.recorder.note(ready=True)
        sending = asyncio.create_task(self._send_all())
        watching = asyncio.create_task(self._watch())
        orphaned = asyncio.create_task(self._orphan.wait())
        tasks: tuple[asyncio.Task[object], ...] = (sending, watching, orphaned)
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()
        if orphaned in done:
            return False
        self._shared.recorder.note(ended_by=self._ended_by or "no clients", lag_s=self._lag_s)
        self._shared.recorder.close()
        return True


async def _main(folder: Path, parent: int, offset: float) -> int:
    if await Run(folder, parent, offset).run():
        return 0
    shutil.rmtree(folder)
    return 3


if __name__ == "__main__":
    sys.exit(asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))
