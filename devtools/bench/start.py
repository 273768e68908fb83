"""How long the command takes to answer: `--help` beside a bare Python and a bare click program, and `status`."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from statistics import median

from devtools.bench.environment import BenchError, as_installed, console_script, patient
from devtools.bench.figure import Beside, Figure, Result, middle
from tests.world import World

RUNS = 15
STATUS_RUNS = 7
HEAVY = ("pydantic", "sqlalchemy", "docker", "rich", "yaml", "alembic")
CLICK = "import click\n@click.command()\ndef c():\n    'x'\nc(['--help'])"


def measure(world: World) -> Result:
    """Wall seconds of whole processes. Raises BenchError when one of them fails."""
    help_command = [*console_script("backstay"), "--help"]
    programs = {"bare": [sys.executable, "-c", "pass"], "click": [sys.executable, "-c", CLICK]}
    walls = alternate({**programs, "help": help_command}, RUNS)
    bare, click, ours = (median(walls[name]) for name in ("bare", "click", "help"))
    status = status_walls(world)
    heavy = heavy_imports()
    figures = [
        middle("python -c pass", walls["bare"]),
        middle("a bare click program --help", walls["click"], beside=Beside("python", bare)),
        middle("backstay --help", walls["help"], beside=Beside("python", bare)),
        Figure("backstay --help, times python", ours / bare, at_most=6, beside=Beside("click", click / bare)),
        Figure("heavy modules that --help imports", len(heavy), at_most=0, spread=", ".join(heavy)),
        middle(
            "backstay status dev", [took for took, _ in status], at_most=0.6, beside=Beside("python", bare)
        ),
        middle("  of which processor time", [cpu for _, cpu in status]),
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


def wall(argv: Sequence[str], env: Mapping[str, str] | None = None) -> float:
    """Seconds from start to end of a process; BenchError when it fails."""
    env = as_installed(env or os.environ)
    began = time.perf_counter()
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
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


def status_walls(world: World) -> list[tuple[float, float]]:
    """Wall and processor seconds of `status` in an environment where both slots are filled."""
    with patient(world, "benchstart") as shop:
        for version in ("v1", "v2"):
            shop.must_deploy(version)
        argv = [*console_script("backstay"), "status", "dev", "--config", str(shop.folder / "backstay.yml")]
        wall(argv, env=shop.env)
        return [wall_and_cpu(argv, shop.env) for _ in range(STATUS_RUNS)]


def wall_and_cpu(argv: Sequence[str], env: Mapping[str, str]) -> tuple[float, float]:
    """Wall and processor seconds of a process; the second hardly depends on what else the machine does."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = wall(argv, env=env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
