"""What a migration takes from a release that knows the tables as they were before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

Tables: TypeAlias = Mapping[str, Mapping[str, bool]]
"""By `schema.table` the columns of each table or view, and whether a row that leaves the column out is refused."""


@dataclass(frozen=True, slots=True)
class Changes:
    """`gone`: tables (`schema.table`) and columns (`schema.table.column`) that are there no more, under that name.
    `demanded`: columns of tables that stay, which came to be and must be given with every new row."""

    gone: tuple[str, ...] = ()
    demanded: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.gone, *self.demanded)


NONE: Final = Changes()


def compare(before: Tables, after: Tables) -> Changes:
    """The changes that a release written for `before` may not live with. Additions that ask for nothing are none."""
    gone: list[str] = []
    demanded: list[str] = []
    for table, columns in before.items():
        if table not in after:
            gone.append(table)
            continue
        now = after[table]
        gone += (f"{table}.{column}" for column in columns if column not in now)
        demanded += (
            f"{table}.{column}" for column, is_needed in now.items() if is_needed and column not in columns
        )
    return Changes(tuple(sorted(gone)), tuple(sorted(demanded)))


def names(unused: str, changed: str) -> bool:
    """Whether what somebody called unused is `changed`, or the table of it; the schema may be left out."""
    given = f".{unused}."
    return f".{changed}.".startswith(given) or f".{changed.partition('.')[2]}.".startswith(given)
