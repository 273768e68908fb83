"""Alarms: what is wrong with an environment for longer than a moment, told once, and once more when it is mended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

RAISED: Final = "alarm"
MENDED: Final = "mended"
"""The statuses under which the two are told."""


class Subject(StrEnum):
    """What an alarm can be about; there is at most one of each at a time in an environment."""

    RPO = "rpo"
    RTO = "rto"
    WAL = "wal"
    BACKUP = "backup"
    DRILL = "drill"
    DUTIES = "duties"
    CONFIG = "config"


@dataclass(frozen=True, slots=True)
class Alarm:
    """A standing alarm. `since` is RFC 3339 UTC."""

    app: str
    environment: str
    subject: Subject
    since: str
    message: str
