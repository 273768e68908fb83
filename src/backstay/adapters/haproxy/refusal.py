"""What HAProxy says when it refuses a configuration, in short. Pure."""

from __future__ import annotations

import re
from typing import Final

MOST: Final = 3
LONGEST: Final = 200

_ALERT: Final = re.compile(r"^\[ALERT\]\s+\(\d+\) : (?:config : )?(.*)$", re.MULTILINE)
_PLACE: Final = re.compile(r"^(?:parsing )?\[[^\]]*:(\d+)\] ?: ")
_SUMMARIES: Final = ("Error(s) found in configuration file", "Fatal errors found in configuration")


def faults(said: str) -> str | None:
    """The first faults that `haproxy -c` found, each with its line; None where it tells of none."""
    found = [alert for alert in _ALERT.findall(said) if not alert.startswith(_SUMMARIES)]
    short = [_PLACE.sub(r"line \1: ", alert).strip(" .")[:LONGEST] for alert in found[:MOST]]
    more = [f"and {len(found) - MOST} more"] if len(found) > MOST else []
    return "; ".join(short + more) or None
