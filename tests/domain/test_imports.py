"""The domain imports the standard library and itself, and nothing that reads a clock or does I/O."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import backstay.domain

FOLDER = Path(backstay.domain.__file__).parent
MODULES = sorted(FOLDER.glob("*.py"))
IMPURE = {
    "asyncio", "io", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "shutil", "signal",
    "socket", "sqlite3", "subprocess", "sys", "tempfile", "threading", "time", "urllib",
}  # fmt: skip
CLOCKS = {"now", "utcnow", "today"}


def imported(tree: ast.AST) -> set[str]:
    """Absolute names of the modules a source file imports, wherever in it."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or ""))
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_of_the_domain_is_pure(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    foreign = {name for name in imported(tree) if not name.startswith("backstay.domain")}
    roots = {name.partition(".")[0] for name in foreign}
    assert roots <= sys.stdlib_module_names
    assert not roots & IMPURE
    called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not called & CLOCKS
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not named & {"open", "print", "input"}
