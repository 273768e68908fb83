"""What writes and reads cost here. Printed (`pytest -s`), not judged: disks differ."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from backstay.adapters.store import SqlStore, open_reader
from backstay.domain.step import StepState
from tests.store import samples
from tests.store.samples import APP, ENV, begun

COUNT = 100


def cost(name: str, act: Callable[[], object]) -> None:
    times = []
    for _ in range(COUNT):
        began = time.perf_counter()
        act()
        times.append((time.perf_counter() - began) * 1000)
    print(f"{name:24} median {statistics.median(times):6.2f} ms   longest {max(times):6.2f} ms")


def test_the_cost_of_everything(store: SqlStore, path: Path) -> None:
    lease = begun(store)
    token = lease.token
    reader = open_reader(path)
    print()
    cost("tell", lambda: store.tell(token, "d1", "told", "hello", data={"a": 1}))
    cost("step", lambda: store.step(token, "d1", "check", StepState.DONE, result={"a": 1}))
    cost("save_slots", lambda: store.save_slots(token, APP, ENV, samples.slots()))
    cost("add_backup", lambda: store.add_backup(token, samples.backup()))
    cost("heartbeat", lambda: store.heartbeat(lease))
    cost("wish, in the worker", lambda: store.wish("d1"))
    cost("wish, in another process", lambda: reader.wish("d1"))
    cost("steps", lambda: reader.steps("d1"))
    cost("slots", lambda: reader.slots(APP, ENV))
    store.close()
    cost("wish, nobody writes", lambda: reader.wish("d1"))


def test_the_cost_of_importing() -> None:
    program = (
        "import time; t = time.perf_counter(); import backstay.adapters.store; print(time.perf_counter() - t)"
    )
    times = [
        float(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    print(f"\nimport                   fastest {min(times) * 1000:.0f} ms")
