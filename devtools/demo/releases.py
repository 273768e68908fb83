"""The shop as folders: a release per version, as a build would leave them on a host."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

SHOP: Final = Path(__file__).resolve().parents[2] / "examples" / "shop"
VERSIONS: Final = ("v1", "v2", "v3", "v4", "v7", "v8")
_NOT_RUN: Final = shutil.ignore_patterns(
    "Dockerfile", ".dockerignore", "requirements.*", "ruff.toml", "__pycache__", "nginx.conf", "migrations_v*"
)


def build(folder: Path) -> None:
    """Make `folder/VERSION/backend` and `…/frontend` of every version. Only v1 lacks the migration of v2; v7 and v8
    have one of their own besides."""
    for version in VERSIONS:
        for component in ("backend", "frontend"):
            shutil.copytree(SHOP / component, folder / version / component, ignore=_NOT_RUN)
        for brought_by in ("v2", version) if version != "v1" else ():
            for migration in (SHOP / "backend" / f"migrations_{brought_by}").glob("*.py"):
                shutil.copy(migration, folder / version / "backend" / "catalog" / "migrations")
