"""The peak memory of a deploy: of the command and of its worker, read from /proc while they live."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from devtools.bench.environment import BenchError, BenchShop, patient
from devtools.bench.figure import Figure, Result
from tests.world import World

BAR_MB = 120.0
PAUSE_S = 0.005
RUNS = 3


class Watch:
    """Follows every process of one shop and keeps the high-water mark of its resident memory, in kB.

    VmHWM never falls, so the last look before a process ends is its peak but for the final milliseconds.
    """

    def __init__(self, shop: BenchShop) -> None:
        self._folder = str(shop.folder)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self.peaks: dict[str, int] = {}
        self.together = 0

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stop.is_set():
            resident: dict[str, int] = {}
            for role, process in self._processes():
                peak, now = memory_of(process)
                self.peaks[role] = max(self.peaks.get(role, 0), peak)
                # A child between fork and exec looks like its parent and shares its pages: it counts once.
                resident[role] = max(resident.get(role, 0), now)
            self.together = max(self.together, sum(resident.values()))
            time.sleep(PAUSE_S)

    def _processes(self) -> Iterator[tuple[str, Path]]:
        for process in Path("/proc").iterdir():
            if not process.name.isdigit():
                continue
            try:
                words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            role = role_of(words, self._folder)
            if role:
                yield role, process


def role_of(words: list[str], folder: str) -> str | None:
    """`client` or `worker` of the shop in the folder, else None. The router outlives the deploy and is no part."""
    if words[0].startswith("backstay worker ") and f" of {folder}" in words[0]:
        return "worker"
    if not any(word.startswith(folder) for word in words):
        return None
    return "client" if "backstay" in words and "deploy" in words else None


def memory_of(process: Path) -> tuple[int, int]:
    """High-water mark and present resident memory in kB; zeros for a process that has just ended."""
    try:
        text = (process / "status").read_text()
    except OSError:
        return 0, 0
    found = {line.split(":")[0]: line.split()[1] for line in text.splitlines() if line.startswith("Vm")}
    return int(found.get("VmHWM", 0)), int(found.get("VmRSS", 0))


def measure(world: World) -> Result:
    """Peaks over some deploys that pull, back up, migrate, switch and bake. Raises BenchError."""
    peaks: dict[str, float] = {}
    together = 0.0
    with patient(world, "benchmemory") as shop:
        for number in range(RUNS):
            with Watch(shop) as watch:
                shop.must_deploy(("v1", "v2")[number % 2])
            together = max(together, watch.together / 1024)
            for role, kilobytes in watch.peaks.items():
                peaks[role] = max(peaks.get(role, 0.0), kilobytes / 1024)
    if peaks.keys() != {"client", "worker"}:
        raise BenchError(f"not both processes were seen: {sorted(peaks)}")
    figures = [
        Figure("worker, peak", peaks["worker"], "MB", at_most=BAR_MB, spread=f"highest of {RUNS} deploys"),
        Figure("client, peak", peaks["client"], "MB", at_most=BAR_MB),
        Figure("both at the same moment", together, "MB", spread="pages they share are counted twice"),
    ]
    return Result("memory: what a deploy needs while it runs", figures)
