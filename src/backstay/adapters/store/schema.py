"""Which schema a store has, compared with those that this program knows."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Final

from backstay.adapters.store.server.address import Server
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


def standing(current: str | None, place: Path | Server, migrations: Path = MIGRATIONS) -> Standing:
    """How revision `current` of the store at `place` stands. StoreError when it is newer than this program."""
    known = revisions(migrations)
    if current == known[-1]:
        return Standing.CURRENT
    if current in known:
        return Standing.OLD
    copy = f"{place.name}.before-{current}" if isinstance(place, Path) else None
    raise StoreError(
        f"the state store {place} was written by a newer Backstay: it has schema {current}, this program"
        f" knows up to {known[-1]}",
        hint="use the newer backstay"
        + (
            f"; the copy from before its upgrade, if there was one, is {copy}"
            if copy
            else " on this host too"
        ),
    )


def too_old(place: Path | Server) -> StoreError:
    """What a reader says, which never upgrades."""
    keeps = ", and keeps a copy" if isinstance(place, Path) else ""
    return StoreError(
        f"the state store {place} has an older schema than this program needs",
        hint=f"the next `backstay deploy` or `backstay rollback` upgrades it{keeps}",
    )


def not_a_store(place: Path | Server) -> StoreError:
    """The refusal of a database of somebody else."""
    other = "path" if isinstance(place, Path) else "database, one that is empty"
    return StoreError(
        f"{place} is a database, but not a state store of Backstay",
        hint=f"set BACKSTAY_STORE (or `store:`) to another {other}",
    )
