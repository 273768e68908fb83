"""Time, so that tests can own it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from backstay.domain.lease import Uptime


class Clock(Protocol):
    def now(self) -> datetime:
        """Wall time, aware, UTC."""

    def monotonic(self) -> float:
        """Seconds that never jump; for intervals and deadlines."""

    def uptime(self) -> Uptime:
        """This moment of this boot of this machine; unlike `monotonic` it can be compared between processes."""

    def sleep(self, seconds: float) -> None:
        """Wait."""
