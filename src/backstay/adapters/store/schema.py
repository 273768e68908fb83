"""Which schema a store has, compared with those that this program knows."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Final

from backstay.errors import StoreError

MIGRATIONS: Final = Path(__file__).with_name("migrations")

HAS_REVISION: Final = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'"
REVISION: Final = "SELECT version_num FROM alembic_version"


class Standing(Enum):
    """How the schema of a store compares with this program."""

    CURRENT = "current"
    OLD = "old"


def revisions(migrations: Path = MIGRATIONS) -> tuple[str, ...]:
    """The revisions this program knows, oldest first, read from the names `NNNN_*.py`."""
    return tuple(sorted(p.name.partition("_")[0] for p in (migrations / "versions").glob("[0-9]*_*.py")))


def standing(current: str | None, path: Path, migrations: Path = MIGRATIONS) -> Standing:
    """How revision `current` of the store at `path` stands. StoreError when it is newer than this program."""
    known = revisions(migrations)
    if current == known[-1]:
        return Standing.CURRENT
    if current in known:
        return Standing.OLD
    raise StoreError(
        f"the state store {path} was written by a newer Backstay: it has schema {current}, this program"
        f" knows up to {known[-1]}",
        hint="use the newer backstay; the copy from before its upgrade, if there was one, is"
        f" {path.name}.before-{current}",
    )


def not_a_store(path: Path) -> StoreError:
    """The refusal of a database of somebody else."""
    return StoreError(
        f"{path} is a database, but not a state store of Backstay",
        hint="set BACKSTAY_STORE (or `store:`) to another path",
    )
