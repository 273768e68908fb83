"""The schema of a store on a server: what is there, and bringing it up to what this program knows.

Definitions are part of a transaction there, so an upgrade happens as a whole or not at all, and needs no copy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from backstay.adapters.store.schema import Standing, not_a_store, standing
from backstay.adapters.store.server.address import Server
from backstay.errors import StoreError

LOOK: Final = """
SELECT pg_is_in_recovery() AS standby,
       current_setting('fsync') AS fsync,
       current_setting('server_encoding') AS encoding,
       current_schema() AS schema,
       to_regclass(quote_ident(current_schema()) || '.alembic_version') IS NOT NULL
         AND to_regclass(quote_ident(current_schema()) || '.leases') IS NOT NULL AS has_revision,
       EXISTS (SELECT FROM pg_tables WHERE schemaname = current_schema()) AS has_tables
"""
REVISION: Final = "SELECT version_num FROM alembic_version"


def revision_of(server: Server, seen: Mapping[str, Any], revision: str | None) -> str | None:
    """The revision of what LOOK saw, None where nothing is yet. StoreError for a schema of somebody else."""
    if seen["schema"] is None:
        raise StoreError(
            f"the state store {server} cannot be used: its search_path names no schema that is there",
            hint="CREATE SCHEMA there, or correct the options in `store:`",
        )
    foreign = revision is not None and not re.fullmatch(r"\d{4}", revision)
    if foreign or (seen["has_tables"] and not seen["has_revision"]):
        raise not_a_store(server)
    return revision


def stands(
    server: Server, seen: Mapping[str, Any], revision: str | None, migrations: Path
) -> Standing | None:
    """How the schema stands; None when there is none yet. StoreError when it is newer, or not a store's."""
    found = revision_of(server, seen, revision)
    return None if found is None else standing(found, server, migrations)


def refuse_unsafe(server: Server, seen: Mapping[str, Any]) -> None:
    """StoreError when it takes no writes, a confirmed commit would not outlive a power cut, or not every text could
    be written down."""
    if seen["standby"]:
        raise StoreError(
            f"the state store {server} cannot be used: it is a standby, which accepts no writes",
            hint="name the primary in `store:`, or several hosts with ?target_session_attrs=read-write",
        )
    if seen["fsync"] != "on":
        raise StoreError(
            f"the state store {server} cannot be used: its server runs with fsync = {seen['fsync']}, so a power cut"
            " could undo what was written down before it was done",
            hint="set fsync = on in its postgresql.conf, or name another server in `store:`",
        )
    if seen["encoding"] != "UTF8":
        raise StoreError(
            f"the state store {server} cannot be used: its database is encoded in {seen['encoding']}",
            hint="CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and name that in `store:`",
        )
