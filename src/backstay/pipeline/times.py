"""The one way times are written."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(at: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: `2026-11-23T10:15:30.123Z`."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def parse_rfc3339(text: str) -> datetime:
    """The aware datetime of what `rfc3339` wrote."""
    return datetime.fromisoformat(text)
