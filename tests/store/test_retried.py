"""Whatever writes outlives a broken connection."""

from __future__ import annotations

import ast
from pathlib import Path

import backstay.adapters.store

FOLDER = Path(backstay.adapters.store.__file__).parent


def writes_in(source: str) -> list[tuple[str, bool]]:
    """The methods that open a transaction of the store, and whether each is marked as retried."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and "self.transaction()" in ast.unparse(node):
            marks = [mark.id for mark in node.decorator_list if isinstance(mark, ast.Name)]
            found.append((node.name, "retried" in marks))
    return found


def test_every_method_that_writes_is_retried() -> None:
    found = [each for path in sorted(FOLDER.glob("*.py")) for each in writes_in(path.read_text())]
    assert len(found) > 15
    assert [name for name, is_retried in found if not is_retried] == []
