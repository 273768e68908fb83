"""pydantic's faults in the words of backstay.yml."""

from __future__ import annotations

from typing import Any, Final

from backstay.config.document import Document
from backstay.config.keys import keys_at
from backstay.config.problem import KeyPath, Problem, suggestion

_KINDS: Final = {
    "model_type": "must be a mapping of keys",
    "dict_type": "must be a mapping of keys",
    "list_type": "must be a list",
    "too_short": "must not be empty",
}
_KEY: Final = "[key]"


def problem_of(document: Document, fault: dict[str, Any]) -> Problem:
    """One of pydantic's faults as a problem with its place in the file. Repeats no value."""
    kind, location = fault["type"], tuple(fault["loc"])
    if kind == "extra_forbidden":
        return document.problem(location, unknown_key(location))
    if kind == "missing":
        parent = location[:-1]
        return document.problem(parent, f'the key "{location[-1]}" is missing')
    if location[-1:] == (_KEY,):
        return document.problem(location[:-1], f"the name {_told(fault)}")
    if not location:
        return document.problem((), f"{_KINDS['model_type']}; app, components and environments are needed")
    return document.problem(location, _KINDS.get(kind) or _told(fault), value=True)


def unknown_key(path: KeyPath) -> str:
    """Why a key is refused, with the nearest that exists there, or all of them."""
    allowed = keys_at(path[:-1])
    close = suggestion(str(path[-1]), allowed)
    return f"unknown key{close}" if close else f"unknown key; allowed here: {', '.join(allowed)}"


def _told(fault: dict[str, Any]) -> str:
    error = fault.get("ctx", {}).get("error")
    return str(error) if error is not None else str(fault["msg"])
