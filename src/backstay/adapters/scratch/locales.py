"""A locale that a scratch server lacks: PostgreSQL takes the operating system's, and a slim one has few."""

from __future__ import annotations

import re
from typing import Final

_REFUSED: Final = re.compile(r'(?:locale name: |initialized with LC_(?:COLLATE|CTYPE) )"([^"]+)"')
"""What a server says to CREATE DATABASE, and to a session on a database of such a locale."""


def missing_locale(said: str) -> str | None:
    """The locale that the server's words name as unknown to it; None when they are about something else."""
    found = _REFUSED.search(said)
    return found[1] if found else None


def cure_on_host(locale: str, major: int) -> str:
    """What to do where the server runs from this host's binaries."""
    return (
        f"make {locale} on this host (locale-gen; on Debian name it in /etc/locale.gen first), or take an image that"
        f" has it: database.scratch: container:postgres:{major}"
    )


def cure_in_image(locale: str) -> str:
    """What to do where it runs in a container."""
    return f"name an image that has the locale {locale} by database.scratch"
