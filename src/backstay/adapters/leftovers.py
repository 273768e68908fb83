"""What processes of ours that died left in the state folder.

Whoever writes a file here keeps it locked. A file of the kinds below that nobody has locked, and that has been left
alone for a while, has no writer any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

QUIET_S: Final = 60.0
"""Between its making and its locking, and between its closing and its renaming, a file has a writer without a lock."""

_TEMPORARY: Final = re.compile(r"\..+\.\d+")
"""As `adapters.files.write_durably` names them."""

_TRASH: Final = ".trash-"


class StateFolder:
    """Implements ports.leftovers.Leftovers for the state folder `home`."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def sweep(self) -> list[str]:
        removed = [str(path) for path in self._candidates() if _remove(path)]
        for trash in (self._home / "process" / "processes").glob(f"{_TRASH}*"):
            shutil.rmtree(
                trash, ignore_errors=True
            )  # its process is gone; whoever was deleting it may have died
            removed.append(str(trash))
        return removed

    def _candidates(self) -> Iterator[Path]:
        """Worker logs with nothing in them, and temporary files of the router and the process engine."""
        yield from (path for path in (self._home / "logs").glob("worker-*.log") if _is_empty(path))
        for folder in (self._home / "router", self._home / "process"):
            yield from (
                path for path in folder.rglob(".*") if _TEMPORARY.fullmatch(path.name) and path.is_file()
            )


def _is_empty(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.stat().st_size == 0
    return False


def _remove(path: Path) -> bool:
    with contextlib.suppress(OSError), path.open("rb") as file:
        if time.time() - path.stat().st_mtime < QUIET_S:
            return False
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
        return True
    return False
