"""A clock that moves only when somebody sleeps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from backstay.domain.lease import Uptime


class FakeClock:
    """`boot_id` is that of its machine; moving `start` is a jump of the wall clock. `on_tick` is called after every
    sleep with the seconds gone by, so that a test can make things happen."""

    def __init__(self) -> None:
        self.start = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
        self.elapsed_s = 0.0
        self.boot_id = "boot"
        self.on_tick: Callable[[float], None] = lambda elapsed_s: None

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.elapsed_s)

    def monotonic(self) -> float:
        return self.elapsed_s

    def uptime(self) -> Uptime:
        return Uptime(self.boot_id, self.elapsed_s)

    def sleep(self, seconds: float) -> None:
        self.elapsed_s += seconds
        self.on_tick(self.elapsed_s)
