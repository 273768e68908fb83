"""The real clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from backstay.adapters.host import boot_id
from backstay.domain.lease import Uptime


class SystemClock:
    """Implements ports.clock.Clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def uptime(self) -> Uptime:
        return Uptime(boot_id(), time.clock_gettime(time.CLOCK_BOOTTIME))

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
