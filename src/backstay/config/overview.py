"""The little that every command needs of backstay.yml, without validating the rest.

`status` must be quick, and must work at 3 a.m. with a file that somebody has just broken elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backstay.config.locate import store_place
from backstay.config.source import read
from backstay.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Outline:
    """Name of the application, names of its environments, and the configured store, if any."""

    app: str
    environments: tuple[str, ...]
    store: str | None


def outline(path: Path, environ: Mapping[str, str]) -> Outline:
    """The outline of the file at `path`. ConfigError when it cannot be read or names no application."""
    document = read(path, environ)
    app, environments, store = (document.get(key) for key in ("app", "environments", "store"))
    refused = any(problem.key[:1] == ("store",) for problem in document.problems)
    if not isinstance(app, str) or not isinstance(environments, dict) or not environments or refused:
        raise ConfigError(_faults(path, environ), hint="backstay config check")
    place = store_place(store, document.path.parent) if isinstance(store, str) else None
    return Outline(app, tuple(environments), place)


def _faults(path: Path, environ: Mapping[str, str]) -> str:
    """All that is wrong with a file that has not even an outline, with lines: now the validation is worth its time."""
    from backstay.config.reading import check

    return "\n".join(str(problem) for problem in check(path, environ))
