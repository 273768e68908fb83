"""What the schema has: its sections, and the keys of each."""

from __future__ import annotations

import typing
from typing import Any

from backstay.config.problem import KeyPath
from backstay.config.schema import Config, Section


def sections() -> list[type[Section]]:
    """Every kind of mapping the file can hold, the whole file first."""
    found: list[type[Section]] = [Config]
    for section in found:
        for field in section.model_fields.values():
            inner = _inner(field.annotation)
            if isinstance(inner, type) and issubclass(inner, Section) and inner not in found:
                found.append(inner)
    return found


def keys_at(path: KeyPath) -> list[str]:
    """The keys allowed in the mapping at `path`; empty when keys are free there, or nothing is known."""
    kind: Any = Config
    for part in path:
        if isinstance(kind, type) and issubclass(kind, Section):
            fields = {field.alias or name: field for name, field in kind.model_fields.items()}
            kind = fields[part].annotation if part in fields else None
            kind = (
                next((k for k in typing.get_args(kind) if k is not type(None)), kind)
                if _optional(kind)
                else kind
            )
        else:
            kind = typing.get_args(kind)[-1] if typing.get_args(kind) else None
    if not (isinstance(kind, type) and issubclass(kind, Section)):
        return []
    return [field.alias or name for name, field in kind.model_fields.items()]


def _optional(annotation: Any) -> bool:
    return type(None) in typing.get_args(annotation)


def _inner(annotation: Any) -> Any:
    """What lists, mappings and optionals finally hold."""
    arguments = [a for a in typing.get_args(annotation) if a is not type(None)]
    return _inner(arguments[-1]) if arguments else annotation
