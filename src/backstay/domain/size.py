"""Sizes as people read them."""

from __future__ import annotations

from typing import Final

UNITS: Final = ("kB", "MB", "GB", "TB")


def format_bytes(count: float) -> str:
    """Bytes in powers of a thousand, with three digits: `812 bytes`, `7.75 kB`, `1.50 GB`."""
    if count < 1000:
        return f"{count:.0f} bytes"
    for unit in UNITS:
        count /= 1000
        if count < 999.5 or unit == UNITS[-1]:
            break
    digits = 2 if count < 9.995 else 1 if count < 99.95 else 0
    return f"{count:.{digits}f} {unit}"
