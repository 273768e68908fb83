"""What is wrong, or worth knowing, in a backstay.yml; always with the place where it was written."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

KeyPath = tuple[str | int, ...]


class Severity(StrEnum):
    """Only an `ERROR` refuses the file; a `WARNING` asks for a decision; a `NOTICE` tells."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Line and column, both counted from 1. Line 0 means the file as a whole."""

    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: the key it is about and what is allowed there. Carries no value that could be a secret."""

    file: str
    position: Position
    key: KeyPath
    message: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        place = f"{self.file}:{self.position.line}" if self.position.line else self.file
        prefix = "" if self.severity is Severity.ERROR else f"{self.severity}: "
        return (
            f"{place}: {prefix}{write_key(self.key)}: {self.message}"
            if self.key
            else f"{place}: {self.message}"
        )


def write_key(path: KeyPath) -> str:
    """A key path as people read it: `routes[0].component`, `smoke[0].expect.json["$.database"]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[\w-]+", part):
            text += f".{part}" if text else part
        else:
            text += f'["{part}"]'
    return text


def suggestion(word: str, allowed: Iterable[str]) -> str:
    """`; did you mean "health"?` when one of `allowed` is close to `word`, else nothing."""
    close = difflib.get_close_matches(word.lower(), list(allowed), n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""
