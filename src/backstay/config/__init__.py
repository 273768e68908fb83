"""backstay.yml and secrets files: find them, check them, and turn them into the domain.

YAML and pydantic are imported inside these functions, so that importing this package costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backstay.config.locate import find, state_home
from backstay.config.problem import Position, Problem, Severity
from backstay.config.secrets_file import SecretsFile

if TYPE_CHECKING:
    from backstay.config.effective import Setting
    from backstay.config.overview import Outline
    from backstay.domain.environment import Application

__all__ = [
    "Position",
    "Problem",
    "SecretsFile",
    "Severity",
    "check",
    "find",
    "json_schema",
    "load",
    "outline",
    "show",
    "state_home",
]


def load(path: Path, environment: str, environ: Mapping[str, str], home: Path | None = None) -> Application:
    """The application in `environment`, from the file at `path`; `environ` expands `${NAME}`.

    `home` is the state folder, by default the one that `environ` says. Raises ConfigError with all faults.
    """
    from backstay.config import reading

    return reading.load(path, environment, environ, home or state_home(environ))


def check(path: Path, environ: Mapping[str, str]) -> list[Problem]:
    """Every fault of the file, in all environments; of a file without faults, the warnings and notices."""
    from backstay.config import reading

    return reading.check(path, environ)


def show(path: Path, environment: str, environ: Mapping[str, str], home: Path | None = None) -> list[Setting]:
    """Every setting in force in `environment` and where it comes from, secrets masked. Raises ConfigError."""
    from backstay.config import effective

    return effective.settings(path, environment, environ, home or state_home(environ))


def outline(path: Path, environ: Mapping[str, str]) -> Outline:
    """Application, environments and store of the file, the rest unread. Raises ConfigError."""
    from backstay.config import overview

    return overview.outline(path, environ)


def json_schema() -> dict[str, Any]:
    """JSON Schema of backstay.yml, for editors."""
    from backstay.config import editors

    return editors.json_schema()
