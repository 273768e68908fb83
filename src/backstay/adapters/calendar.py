"""Cron expressions, understood by cronsim."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class CronCalendar:
    """Implements ports.calendar.Calendar."""

    def last(self, expression: str, at: datetime) -> datetime | None:
        # cronsim looks strictly before a moment; a minute is the finest it knows.
        return _first(expression, at.astimezone(UTC) + timedelta(microseconds=1), reverse=True)

    def next(self, expression: str, at: datetime) -> datetime | None:
        return _first(expression, at.astimezone(UTC), reverse=False)


def _first(expression: str, at: datetime, *, reverse: bool) -> datetime | None:
    from cronsim import CronSim, CronSimError

    try:
        return next(CronSim(expression, at, reverse=reverse))
    except (CronSimError, StopIteration):
        return None
