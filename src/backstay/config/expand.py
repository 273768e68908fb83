"""`${NAME}` in values of backstay.yml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_DOLLAR: Final = re.compile(r"\$(?:\$|\{(?P<name>[^}]*)(?P<end>\}?))")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Expansion:
    """The expanded text, the variables it took, and what was wrong with it."""

    text: str
    names: tuple[str, ...]
    faults: tuple[str, ...]


def expand(text: str, environ: Mapping[str, str]) -> Expansion:
    """Replace `${NAME}` by its value and `$$` by one dollar sign; any other dollar sign stays.

    A missing variable is a fault that names it. Nothing in a value is expanded again.
    """
    names: list[str] = []
    faults: list[str] = []

    def replacement(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            return "$"
        if not match["end"] or _NAME.fullmatch(name) is None:
            faults.append("only ${NAME} is expanded; write $$ for a dollar sign")
            return match[0]
        if name not in environ:
            faults.append(f"the environment variable {name} is not set; write $$ for a dollar sign")
            return match[0]
        names.append(name)
        return environ[name]

    expanded = _DOLLAR.sub(replacement, text)
    return Expansion(expanded, tuple(names), tuple(dict.fromkeys(faults)))
