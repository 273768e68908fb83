"""What `init` may do to a folder: what is to be written, what is there already, and who decides."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to write: its path below the folder, with `/`, its content and its mode."""

    path: str
    content: bytes
    mode: int


class Fate(StrEnum):
    """What becomes of a file."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    REPLACED = "replaced"
    REFUSED = "refused"


def fate(wanted: Wanted, existing: bytes | None, *, force: bool) -> Fate:
    """Decide about one file; `existing` is what is there. What somebody changed is replaced only by `force`."""
    if existing is None:
        return Fate.WRITTEN
    if existing == wanted.content:
        return Fate.UNCHANGED
    return Fate.REPLACED if force else Fate.REFUSED
