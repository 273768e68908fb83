"""The configuration that is in force in an environment, and where each value comes from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from backstay.config import schema
from backstay.config.defaults import filled
from backstay.config.document import Document
from backstay.config.locate import shown_store
from backstay.config.problem import KeyPath, write_key
from backstay.config.reading import restricted
from backstay.config.values import Bytes, Seconds, write_duration, write_memory
from backstay.domain.environment import Bind
from backstay.domain.secret import MASK

_SECRET_NAME: Final = re.compile(r"pass|secret|token|key|credential|auth|cookie|dsn", re.IGNORECASE)
_PASSWORD: Final = re.compile(r"(\w+://[^\s/@:]*:)[^\s/@]+@")


@dataclass(frozen=True, slots=True)
class Setting:
    """One value in force: its key path, the value as it would be written (JSON types), and its origin.

    `origin` is `FILE:LINE`, with the variables it was expanded from, or `policy NAME`, or `built-in`.
    """

    key: str
    value: Any
    origin: str


def settings(path: Path, environment: str, environ: Mapping[str, str], home: Path) -> list[Setting]:
    """All settings of `environment`, in the order of the documentation. Raises ConfigError as `load` does."""
    document, config = restricted(path, environment, environ)
    full = filled(config, environment, document.path.parent, home)
    level = str(full.environments[environment].policy.name)
    return [
        Setting(write_key(key), _shown(document, key, value), _origin(document, key, level))
        for key, value in _leaves(full, ())
        if value is not None
    ]


def _leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, schema.Section):
        for name, field in type(value).model_fields.items():
            yield from _leaves(getattr(value, name), (*path, field.alias or name))
    elif isinstance(value, dict) and value:
        for name, child in value.items():
            yield from _leaves(child, (*path, name))
    elif isinstance(value, list) and value and isinstance(value[0], schema.Section):
        for index, child in enumerate(value):
            yield from _leaves(child, (*path, index))
    else:
        yield path, value


def _origin(document: Document, key: KeyPath, level: str) -> str:
    if key in document.values:
        variables = "".join(f" ${{{name}}}" for name in _variables(document, key))
        return f"{document.name}:{document.position(key).line}{variables}"
    if key[0] == "environments" and key[2] == "policy":
        return f"policy {level}"
    return "built-in"


def _variables(document: Document, key: KeyPath) -> list[str]:
    """The variables of a value, or of the items of a list."""
    found = [names for path, names in document.variables.items() if path[: len(key)] == key]
    return list(dict.fromkeys(name for names in found for name in names))


def _shown(document: Document, key: KeyPath, value: Any) -> Any:
    if "notify" in key:
        return [f"{url.partition('://')[0]}://{MASK}" for url in value]
    if _is_secret(document, key):
        return MASK
    if key == ("store",):
        return shown_store(str(value))
    return _written(value)


def _is_secret(document: Document, key: KeyPath) -> bool:
    """By the name of a free key (env, headers), or by that of a variable the value comes from."""
    free = [str(key[-1])] if {"env", "headers"} & set(key[:-1]) else []
    return any(_SECRET_NAME.search(name) for name in (*free, *_variables(document, key)))


def _written(value: Any) -> Any:
    if isinstance(value, Seconds):
        return write_duration(value)
    if isinstance(value, Bytes):
        return write_memory(value)
    if isinstance(value, Bind):
        return str(value)
    if isinstance(value, tuple) and len(value) == 2:
        return f"{value[0]}-{value[1]}"
    if isinstance(value, list | tuple):
        return [_written(item) for item in value]
    return _PASSWORD.sub(rf"\1{MASK}@", value) if isinstance(value, str) else value
