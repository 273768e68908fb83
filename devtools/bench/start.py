"""How long the command takes to answer: `--help` beside a bare Python and a bare click program, and `status`."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from devtools.bench.environment import BenchError, console_script, patient
from devtools.bench.figure import Beside, Figure, Result, middle
from tests.world import World

RUNS = 15
STATUS_RUNS = 7
HEAVY = ("pydantic", "sqlalchemy", "docker", "httpx2", "rich", "yaml", "alembic")
CLICK = "import click\n@click.command()\ndef c():\n    'x'\nc(['--help'])"


def measure(world: World) -> Result:
    """Wall seconds of whole processes. Raises BenchError when one of them fails."""
    help_command = [*console_script("backstay"), "--help"]
    programs = {"bare": [sys.executable, "-c", "pass"], "click": [sys.executable, "-c", CLICK]}
    walls = alternate({**programs, "help": help_command}, RUNS)
    bare, click, ours = (sorted(walls[name])[RUNS // 2] for name in ("bare", "click", "help"))
    heavy = heavy_imports()
    figures = [
        middle("backstay --help", walls["help"], beside=Beside("python -c pass", bare)),
        Figure("  times a bare Python", ours / bare, "×", at_most=6),
        Figure(
            "  times a bare click program", ours / click, "×", beside=Beside("click/Python", click / bare)
        ),
        Figure("  heavy modules imported", len(heavy), at_most=0, spread=", ".join(heavy)),
        middle(
            "backstay status dev", status_walls(world), at_most=0.6, beside=Beside("python -c pass", bare)
        ),
    ]
    return Result("start: how fast the command answers", figures)


def alternate(programs: Mapping[str, Sequence[str]], runs: int) -> dict[str, list[float]]:
    """Wall seconds of every program, run in turns so that a busy moment meets all of them alike."""
    walls: dict[str, list[float]] = {name: [] for name in programs}
    for argv in programs.values():
        wall(argv)
    for _ in range(runs):
        for name, argv in programs.items():
            walls[name].append(wall(argv))
    return walls


def wall(argv: Sequence[str], **options: object) -> float:
    """Seconds from start to end of a process; BenchError when it fails."""
    began = time.perf_counter()
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, **options)  # type: ignore[call-overload]
    took = time.perf_counter() - began
    if done.returncode != 0:
        raise BenchError(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr[-500:]}")
    return took


def heavy_imports() -> list[str]:
    """Modules of the heavy list that `--help` imports."""
    argv = [sys.executable, "-X", "importtime", "-m", "backstay", "--help"]
    told = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stderr
    names = {found.group(1).split(".")[0] for found in re.finditer(r"\|\s+([\w.]+)$", told, re.MULTILINE)}
    return [name for name in HEAVY if name in names]


def status_walls(world: World) -> list[float]:
    """Wall seconds of `status` in an environment where both slots are filled."""
    with patient(world, "benchstart") as shop:
        for version in ("v1", "v2"):
            shop.must_deploy(version)
        argv = [*console_script("backstay"), "status", "dev", "--config", str(shop.folder / "backstay.yml")]
        wall(argv, env=shop.env)
        return [wall(argv, env=shop.env) for _ in range(STATUS_RUNS)]
