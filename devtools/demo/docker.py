"""`./dev demo --docker`: the story on a real container engine, registry, router and PostgreSQL.

Ends 0 only if everything went as it must; leaves nothing behind.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType

from rich.console import Console

from devtools.demo.story import new_console, play, say
from devtools.demo.table import show
from tests.shop import Shop
from tests.world import World, images
from tests.world.errors import WorldMissing


def main() -> int:
    signal.signal(signal.SIGTERM, _interrupt)
    console = new_console()
    started_world = _bring_up(console)
    try:
        world = World.current()
        say(console, "building and pushing the shop, v1 to v8 …")
        images.shop(world)
        began = time.monotonic()
        with Shop(world, f"demo{os.getpid()}", bake="8s", deadline="8s") as shop:
            told = play(shop, console)
        show(told, time.monotonic() - began, console)
        return 1 if told.faults else 0
    finally:
        if started_world:
            World.down()


def _bring_up(console: Console) -> bool:
    """Start the test world if none runs; True when we did."""
    try:
        World.current()
    except WorldMissing:
        World.up(lambda line: console.print(line, highlight=False))
        return True
    return False


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
