"""When cron expressions fire, so that nobody but an adapter needs to understand them."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Calendar(Protocol):
    """Expressions of five fields, in UTC, that were found valid before."""

    def last(self, expression: str, at: datetime) -> datetime | None:
        """The last moment at or before `at` at which it fires; None when it never did."""

    def next(self, expression: str, at: datetime) -> datetime | None:
        """The first moment after `at`; None when it never will."""
