"""backstay.yml as plain data that remembers where everything was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backstay.config.problem import KeyPath, Position, Problem


@dataclass(slots=True)
class Document:
    """A file as data. `keys` and `values` give positions by key path.

    `variables` names the environment variables a value was expanded from.
    """

    path: Path
    name: str
    data: Any = None
    keys: dict[KeyPath, Position] = field(default_factory=dict)
    values: dict[KeyPath, Position] = field(default_factory=dict)
    variables: dict[KeyPath, tuple[str, ...]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def position(self, path: KeyPath, *, value: bool = False) -> Position:
        """Where the key (or value) at `path` is written; that of the nearest key above when it is not."""
        first, second = (self.values, self.keys) if value else (self.keys, self.values)
        for length in range(len(path), 0, -1):
            found = first.get(path[:length]) or second.get(path[:length])
            if found is not None:
                return found
        return Position(1, 1) if self.data is not None else Position()

    def problem(self, path: KeyPath, message: str, *, value: bool = False) -> Problem:
        """A fault at `path`, to be reported or collected by the caller."""
        return Problem(self.name, self.position(path, value=value), path, message)

    def get(self, *path: str | int) -> Any:
        """The value at `path`, or None where the file has nothing there."""
        value = self.data
        for part in path:
            if isinstance(value, dict):
                value = value.get(part)
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                return None
        return value

    def mapping(self, *path: str | int) -> dict[str, Any]:
        """The mapping at `path`, empty when there is none."""
        value = self.get(*path)
        return value if isinstance(value, dict) else {}

    def sequence(self, *path: str | int) -> list[Any]:
        """The list at `path`, empty when there is none."""
        value = self.get(*path)
        return value if isinstance(value, list) else []
