"""The text of backstay.yml as plain data, with the line and column of every key and value.

Scalars follow YAML 1.2: `no`, `on`, `012`, `12:30` and dates are text, so that nothing changes its meaning.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from backstay.config.expand import expand
from backstay.config.locate import shown_name
from backstay.config.problem import KeyPath, Position, Problem

LARGEST_FILE: Final = 1024 * 1024
DEEPEST: Final = 32
MOST_VALUES: Final = 50_000

_TAG: Final = "tag:yaml.org,2002:"
_INT: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FLOAT: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_BOOL: Final = re.compile(r"true|True|TRUE|false|False|FALSE")
_NULL: Final = re.compile(r"~|null|Null|NULL|")


class _Loader(yaml.SafeLoader):
    """Composes nodes only; scalars resolve by the core schema, and depth is bounded."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        mark = self.peek_event().start_mark
        if self.depth >= DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"nested more than {DEEPEST} levels deep", mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


_Loader.yaml_implicit_resolvers = {}
for _kind, _pattern, _first in (
    ("null", _NULL, ["~", "n", "N", ""]),
    ("bool", _BOOL, list("tTfF")),
    ("int", _INT, list("-0123456789")),
    ("float", _FLOAT, list("-0123456789")),
    ("merge", re.compile("<<"), ["<"]),
):
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(rf"(?:{_pattern.pattern})\Z"), _first)  # type: ignore[no-untyped-call]


@dataclass(slots=True)
class Document:
    """A file as data. `keys` and `values` give positions by key path; `variables` what a value was expanded from."""

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


def read(path: Path, environ: Mapping[str, str]) -> Document:
    """Read `path`. Faults are collected in the document, never raised; `data` stays None when there is no reading it."""
    document = Document(path.absolute(), shown_name(path))
    text = _text_of(document)
    if text is None:
        return document
    loader = _Loader(text)
    try:
        root = _only_document(loader, document)
        if root is not None:
            _Walk(document, environ).enter(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Position(mark.line + 1, mark.column + 1) if mark else Position()
        told = error.problem or error.context or "cannot be read"
        document.problems.append(Problem(document.name, where, (), f"not YAML: {told}"))
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        where = Position(before.count("\n") + 1, len(before) - before.rfind("\n"))
        document.problems.append(
            Problem(
                document.name,
                where,
                (),
                f"not YAML: the character U+{ord(text[error.position]):04X} is not allowed",
            )
        )
    return document


def _text_of(document: Document) -> str | None:
    def refuse(message: str, line: int = 0) -> None:
        document.problems.append(Problem(document.name, Position(line, 1 if line else 0), (), message))

    try:
        with document.path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except OSError as error:
        refuse(f"cannot be read: {error.strerror}")
        return None
    if len(raw) > LARGEST_FILE:
        refuse("larger than 1 MiB")
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        refuse("not UTF-8", raw.count(b"\n", 0, error.start) + 1)
        return None


def _only_document(loader: _Loader, document: Document) -> yaml.Node | None:
    if not loader.check_node():
        document.problems.append(
            Problem(
                document.name,
                Position(1, 1),
                (),
                "empty; at least app, components and environments are needed",
            )
        )
        return None
    root = loader.get_node()
    if loader.check_node():
        mark = loader.peek_event().start_mark
        message = "a second document begins here; only one is allowed"
        document.problems.append(
            Problem(document.name, Position(mark.line + 1, mark.column + 1), (), message)
        )
        return None
    return root


@dataclass(slots=True)
class _Walk:
    """Turns nodes into data. `open` holds the nodes being walked, so that an alias of one of them is seen."""

    document: Document
    environ: Mapping[str, str]
    open: set[int] = field(default_factory=set)
    seen: int = 0

    def enter(self, root: yaml.Node) -> None:
        self.document.data = self.value(root, ())

    def refuse(self, path: KeyPath, node: yaml.Node, message: str) -> None:
        self.document.problems.append(Problem(self.document.name, _start(node), path, message))

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self.document.values[path] = _start(node)
        self.seen += 1
        if self.seen > MOST_VALUES:
            raise yaml.MarkedYAMLError(
                None, None, f"more than {MOST_VALUES} values, aliases included", node.start_mark
            )
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        if id(node) in self.open:
            self.refuse(path, node, "an alias that contains itself")
            return None
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
                return [self.value(child, (*path, index)) for index, child in enumerate(node.value)]
            if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
                return self.mapping(node, path)
        finally:
            self.open.discard(id(node))
        self.refuse(path, node, f"the tag {_tag(node)} is not supported")
        return None

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: list[yaml.Node] = []
        for key, child in node.value:
            if key.tag == _TAG + "merge":
                merged.extend(child.value if isinstance(child, yaml.SequenceNode) else [child])
            elif not isinstance(key, yaml.ScalarNode) or key.tag != _TAG + "str":
                shown = (
                    f'; write "{key.value}" in quotes'
                    if isinstance(key, yaml.ScalarNode) and key.value
                    else ""
                )
                self.refuse(path, key, f"a key must be text{shown}")
            elif key.value in own:
                first = self.document.keys[(*path, key.value)].line
                self.refuse((*path, key.value), key, f"the same key twice; it is at line {first} already")
            else:
                self.document.keys[(*path, key.value)] = _start(key)
                own[key.value] = self.value(child, (*path, key.value))
        for other in merged:
            self.merge(other, path, own)
        return own

    def merge(self, node: yaml.Node, path: KeyPath, own: dict[str, Any]) -> None:
        if not isinstance(node, yaml.MappingNode) or id(node) in self.open:
            self.refuse(path, node, "<< wants a mapping, or a list of mappings, that does not contain itself")
            return
        self.open.add(id(node))
        for key, child in node.value:
            if key.tag == _TAG + "merge":
                for inner in child.value if isinstance(child, yaml.SequenceNode) else [child]:
                    self.merge(inner, path, own)
            elif isinstance(key, yaml.ScalarNode) and key.tag == _TAG + "str" and key.value not in own:
                self.document.keys[(*path, key.value)] = _start(key)
                own[key.value] = self.value(child, (*path, key.value))
        self.open.discard(id(node))

    def scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        tag, text = node.tag, node.value
        if tag == _TAG + "str" and "$" in text:
            expansion = expand(text, self.environ)
            for fault in expansion.faults:
                self.refuse(path, node, fault)
            text = expansion.text
            if expansion.names:
                self.document.variables[path] = expansion.names
                tag = plain_tag(text) if node.style is None else tag
        found, value = plain_value(tag, text)
        if not found:
            self.refuse(path, node, f"the tag {_tag(node)} is not supported, or does not fit the value")
        return value


def plain_tag(text: str) -> str:
    """The tag that `text` has when it is written without quotes; empty text stays text."""
    for kind, pattern in (("bool", _BOOL), ("int", _INT), ("float", _FLOAT)):
        if pattern.fullmatch(text):
            return _TAG + kind
    return _TAG + "str"


def plain_value(tag: str, text: str) -> tuple[bool, Any]:
    """Whether `tag` is known and fits `text`, and the value."""
    kind = tag.removeprefix(_TAG)
    if kind in ("str", "merge"):
        return True, text
    if kind == "null":
        return True, None
    if kind == "bool" and _BOOL.fullmatch(text):
        return True, text.lower() == "true"
    if kind == "int" and _INT.fullmatch(text):
        return True, int(text)
    if kind == "float" and _FLOAT.fullmatch(text):
        number = float(text)
        return True, number if math.isfinite(number) else text
    return False, None


def _start(node: yaml.Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)


def _tag(node: yaml.Node) -> str:
    return str(node.tag).replace(_TAG, "!!")
