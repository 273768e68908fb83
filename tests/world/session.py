"""Runs one command with the world around it: up before, and down after it if it was not there before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from tests.world import engine
from tests.world.commands import FOREIGN, SYSTEM_PATH
from tests.world.errors import WorldError, WorldMissing
from tests.world.world import World


def run(argv: Sequence[str], say: Callable[[str], None]) -> int:
    """The command's exit status (128 + signal when one ended it); WorldError when the world cannot start.

    Without root there is no world: the command runs without, unless BACKSTAY_REQUIRE_WORLD is set. Removal
    is silent when it succeeds, so that the command has the last word.
    """
    if os.getuid() != 0 and not os.environ.get("BACKSTAY_REQUIRE_WORLD"):
        say("not root: without the real test world, so tests that need it are skipped")
        return _wait_for(argv, _environment({}))
    with _terminable():
        ours = not _is_up()
        world = World.up(say)
        try:
            variables = engine.client_env(world.layout) | {"BACKSTAY_WORLD": str(world.layout.folder)}
            return _wait_for(argv, _environment(variables))
        finally:
            if ours:
                _remove_quietly(say)


def _is_up() -> bool:
    try:
        World.current()
    except WorldMissing:
        return False
    return True


def _wait_for(argv: Sequence[str], env: dict[str, str]) -> int:
    with subprocess.Popen(argv, env=env) as child:
        while True:
            try:
                status = child.wait()
            except KeyboardInterrupt:  # the terminal sent it to the child, too: let it end in its own way
                continue
            except SystemExit:
                child.terminate()
                continue
            return status if status >= 0 else 128 - status


def _environment(variables: dict[str, str]) -> dict[str, str]:
    """The system's docker comes first on PATH, and nothing leads to another engine or database."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    path = f"{Path(sys.executable).parent}:{SYSTEM_PATH}:{os.environ.get('PATH', '')}"
    return {**kept, "PATH": path, **variables}


def _remove_quietly(say: Callable[[str], None]) -> None:
    lines: list[str] = []
    try:
        World.down(lines.append)
    except WorldError:
        for line in lines:
            say(line)
        raise


class _terminable:
    """SIGTERM unwinds like Ctrl-C, so that the world is removed."""

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGTERM, self._raise)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    @staticmethod
    def _raise(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)
