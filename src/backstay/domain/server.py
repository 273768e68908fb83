"""What a PostgreSQL server says about itself and one of its databases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """`bytes` is the size of the database on the server's disk, indexes and dead rows included; `cluster_bytes` that of
    all databases, None where the role may not ask. `extensions`: name to version.

    `wal_lsn` is where the WAL stood (of a standby: what it replayed), `xid` the next transaction id (64 bit, epoch
    included): two looks with the same `xid` saw the same data. `may_replicate`: the role may take a physical
    backup, as far as its attributes say. `data_directory` is the server's own path, None where the role may not ask.
    """

    server_version: str
    server_major: int
    system_identifier: str | None
    database: str
    bytes: int
    encoding: str
    collation: str
    extensions: Mapping[str, str]
    roles: tuple[str, ...]
    ctype: str = ""
    cluster_bytes: int | None = None
    wal_lsn: str | None = None
    xid: int | None = None
    in_recovery: bool = False
    may_replicate: bool = False
    is_superuser: bool = False
    wal_level: str = ""
    data_checksums: bool = False
    tablespaces: tuple[str, ...] = field(default=())
    data_directory: str | None = None
    server_time: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
