"""Workers that end by themselves."""

from __future__ import annotations

from pathlib import Path

from devtools.demo.host import workers_of
from tests.world.processes import wait_until


def until_no_worker_runs(home: Path) -> None:
    """A command leaves when its deployment has ended; its worker then still sends, closes the store and removes its
    log."""
    assert wait_until(lambda: workers_of(home) == [], 30)
