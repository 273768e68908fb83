"""YAML nodes to plain data with positions.

Scalars follow YAML 1.2: `no`, `on`, `012`, `12:30` and dates are text, so that nothing changes its meaning.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from backstay.config.document import Document
from backstay.config.expand import expand
from backstay.config.problem import KeyPath, Position, Problem

DEEPEST: Final = 32
MOST_VALUES: Final = 50_000

_TAG: Final = "tag:yaml.org,2002:"
_INT: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FLOAT: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_BOOL: Final = re.compile(r"true|True|TRUE|false|False|FALSE")
_NULL: Final = re.compile(r"~|null|Null|NULL|")
_HALF: Final = re.compile("[\ud800-\udfff]")
HALF_REFUSED: Final = "half a character (a lone surrogate) is not allowed"


class TooMuch(yaml.MarkedYAMLError):
    """The file is YAML, but larger or deeper than any configuration can be."""


class Loader(yaml.SafeLoader):
    """Composes nodes only; scalars resolve by the core schema, and depth and number are bounded."""

    depth = 0
    composed = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.depth >= DEEPEST:
            raise TooMuch(None, None, f"nested more than {DEEPEST} levels deep", mark)
        self.composed += 1
        if self.composed > MOST_VALUES:
            raise TooMuch(None, None, f"more than {MOST_VALUES} values", mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


Loader.yaml_implicit_resolvers = {}
for _kind, _pattern, _first in (
    ("null", _NULL, ["~", "n", "N", ""]),
    ("bool", _BOOL, list("tTfF")),
    ("int", _INT, list("-0123456789")),
    ("float", _FLOAT, list("-0123456789")),
    ("merge", re.compile("<<"), ["<"]),
):
    Loader.add_implicit_resolver(_TAG + _kind, re.compile(rf"(?:{_pattern.pattern})\Z"), _first)


@dataclass(slots=True)
class Walk:
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
            raise TooMuch(None, None, f"more than {MOST_VALUES} values, aliases included", node.start_mark)
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
            elif _HALF.search(key.value):
                self.refuse(path, key, HALF_REFUSED)
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
        if _HALF.search(text):
            self.refuse(path, node, HALF_REFUSED)
            return None
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
