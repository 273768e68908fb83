"""Asking the server with psycopg alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

Rows = Sequence[dict[str, Any]]

NOW: Final = "SELECT CAST(extract(epoch FROM clock_timestamp()) AS float8) AS now_s"


def asked(connection: psycopg.Connection[Any], query: str, values: Mapping[str, Any]) -> Rows:
    """All rows of a SELECT with `:name` parameters, by column name. Raises psycopg.Error.

    Never prepared: what `SELECT *` means changes when a newer program upgrades the schema.
    """
    with psycopg.Cursor(connection, row_factory=dict_row) as cursor:
        return cursor.execute(as_psycopg(query), values or None, prepare=False).fetchall()


@lru_cache
def as_psycopg(query: str) -> bytes:
    """A query with `:name` parameters as psycopg wants it."""
    return re.sub(r"(?<![:\w]):([a-z_]\w*)", r"%(\1)s", query.replace("%", "%%")).encode()
