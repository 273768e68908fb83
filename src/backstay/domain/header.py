"""Headers of a request: names are equal whatever their case (RFC 9110, 5.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def joined(*headers: Mapping[str, str]) -> dict[str, str]:
    """All of them in one; of headers with equal names only the last stays, in its place and as it is written there."""
    found: dict[str, tuple[str, str]] = {}
    for name, value in (item for each in headers for item in each.items()):
        found.pop(name.lower(), None)
        found[name.lower()] = (name, value)
    return dict(found.values())


def equal_names(names: Iterable[str]) -> dict[str, str]:
    """Each name that was there already in another case, to what it was then: `{"host": "Host"}`."""
    first: dict[str, str] = {}
    return {name: first[name.lower()] for name in names if first.setdefault(name.lower(), name) != name}
