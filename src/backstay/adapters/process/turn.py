"""Whose turn it is to start a process: one start at a time in a state folder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from backstay.errors import EngineError

LOCK: Final = "lock"
_POLL_S: Final = 0.02


@contextmanager
def own_turn(folder: Path, within_s: float) -> Iterator[int]:
    """Nobody else starts a process in this folder meanwhile; gives the lock's file descriptor.

    The folder is made. EngineError when it cannot be, or when others start processes for `within_s` seconds.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise EngineError(f"{folder} cannot be written: {error.strerror}") from error
    try:
        until = time.monotonic() + within_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise EngineError(
                        f"another process is being started for {within_s:g} s already",
                        hint=f"who holds {folder / LOCK}? fuser -v tells",
                    ) from None
                time.sleep(_POLL_S)
        yield fd
    finally:
        os.close(fd)
