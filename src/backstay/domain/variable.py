"""Variables and secrets that look as if nobody ever set them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from backstay.domain.secret import Secret

FILLERS: Final = frozenset(
    {"changeme", "change-me", "change_me", "todo", "tbd", "fixme", "xxx", "placeholder", "dummy", "replaceme",
     "replace-me", "replace_me"}
)  # fmt: skip
WEAK: Final = frozenset({"secret", "password", "none", "null", "undefined"})
"""Words that no secret should be; a plain variable may well be one of them."""

_SHAPES: Final = re.compile(r"\$\w+|\$\{[^}]*\}|\$\([^)]*\)|\{\{.*\}\}|<[^<>]+>|your[-_ ].*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Unset:
    """Names of what must still be set, each list sorted."""

    missing: tuple[str, ...]
    empty: tuple[str, ...]
    placeholders: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.empty or self.placeholders)

    def __str__(self) -> str:
        """Names only, never a value."""
        lists = (("missing", self.missing), ("empty", self.empty), ("placeholders", self.placeholders))
        return "; ".join(f"{what}: {', '.join(names)}" for what, names in lists if names)


def is_filler(value: str) -> bool:
    """Whether `value` was left over from a template: `changeme`, `${NAME}` not expanded, `<your key>`, `xxxx`."""
    text = value.strip()
    return bool(text) and (
        text.lower() in FILLERS or _SHAPES.fullmatch(text) is not None or set(text.lower()) in ({"x"}, {"*"})
    )


def unset(
    wanted: Iterable[str], secrets: Mapping[str, Secret], variables: Mapping[str, str] | None = None
) -> Unset:
    """What of the `wanted` secrets, and of plain `variables` (name to value), nobody has set yet.

    A plain variable may be empty on purpose; it is named only when it is a leftover of a template.
    """
    names = sorted(set(wanted))
    given = {name: secrets[name].reveal().strip() for name in names if name in secrets}
    left = {name for name, value in given.items() if is_filler(value) or value.lower() in WEAK}
    left |= {name for name, value in (variables or {}).items() if is_filler(value)}
    return Unset(
        missing=tuple(name for name in names if name not in secrets),
        empty=tuple(name for name, value in given.items() if not value),
        placeholders=tuple(sorted(left)),
    )
