"""`python -m devtools.bench [NAME…]`: measure everything, or what is named. Exit status 1: a bar was missed."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from devtools.bench.environment import BenchError
from devtools.bench.figure import Result, table
from tests.world import World, WorldError, WorldMissing, images

NAMES = (
    "start",
    "memory",
    "overhead",
    "rollback",
    "recovery",
    "smoke",
    "check",
    "notify",
    "journal",
    "lease",
    "backup",
    "rehearsal",
    "continuous",
    "switches",
)


def main() -> int:
    """0: every bar was kept, 1: one was missed, 2: something could not be measured."""
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (default: all)")
    names = parser.parse_args().names or list(NAMES)
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        parser.error(f"there is no bench {unknown[0]!r}; there are {', '.join(NAMES)}")
    try:
        with running_world() as world:
            say(f"{os.cpu_count()} cores, load before: {os.getloadavg()[0]:.1f}")
            images.shop(world)
            ends = [run(name, world) for name in names]
    except WorldError as error:
        say(f"error: {error}")
        return 2
    return max(ends)


def run(name: str, world: World) -> int:
    """Measure one bench and print its table; 0 kept, 1 missed, 2 not measured."""
    began = time.monotonic()
    module = importlib.import_module(f"devtools.bench.{name}")
    try:
        result: Result = module.measure(world)
    except BenchError as error:
        say(f"== {name}: not measured: {error}")
        return 2
    print(table(result))
    print(f"  · took {time.monotonic() - began:.0f} s; load after: {os.getloadavg()[0]:.1f}\n", flush=True)
    return 1 if result.missed else 0


@contextmanager
def running_world() -> Iterator[World]:
    """The world that runs, else one of our own, which is removed at the end."""
    try:
        world = World.current()
    except WorldMissing:
        world = World.up(say)
        try:
            yield world
        finally:
            World.down(say)
        return
    yield world


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
