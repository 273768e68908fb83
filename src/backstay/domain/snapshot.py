"""What differs between two snapshots of an environment. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

IGNORED = frozenset({"taken_at"})


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is not the same; `path` is dotted, and a value that is not there is None."""

    path: str
    before: Any
    after: Any


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Every leaf that differs between two snapshots (nested JSON mappings), in the order of their paths."""
    had, have = dict(_leaves(before)), dict(_leaves(after))
    return [
        Difference(path, had.get(path), have.get(path))
        for path in sorted(had.keys() | have.keys())
        if had.get(path) != have.get(path) and path not in IGNORED
    ]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Lists count as one value: what moved inside them has no name to be told by."""
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from _leaves(child, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
