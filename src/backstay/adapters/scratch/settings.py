"""The settings of a scratch server: nothing of it need survive a power cut, and all that it does is logged as rows.

A copied cluster brings its catalogs along, but none of its settings; what it would do by itself (follow a publisher,
run background workers, send its WAL on) stays undone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

ACCESS: Final = "host all all all scram-sha-256\n"

MOST: Final = "1000"
"""A copied cluster does not start where it has more prepared transactions, or origins of replication, than it may.
Both together cost 50 MB of shared memory, and make room for 70,000 locks."""

_SETTINGS: Final = {
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "archive_mode": "off",
    # Subscriptions of a copy would take production's slots on its publishers, and confirm what production never got.
    "max_logical_replication_workers": "0",
    "shared_preload_libraries": "",
    "synchronous_standby_names": "",
    "max_prepared_transactions": MOST,
    "max_replication_slots": MOST,
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "maintenance_work_mem": "128MB",
    "hot_standby": "off",
    "log_destination": "csvlog",
    "logging_collector": "on",
    "log_filename": "server.log",
    "log_file_mode": "0600",
    "log_rotation_age": "0",
    "log_rotation_size": "0",
    "log_checkpoints": "off",
    "lc_messages": "C",
}


def settings(major: int, addresses: Sequence[str], log: str, recovery: Mapping[str, str]) -> str:
    """A whole postgresql.conf. `recovery` are settings of a recovery to a point in time."""
    found = {**_SETTINGS, "listen_addresses": ",".join(addresses), "log_directory": log}
    if major >= 18:  # a setting of its own since then
        found["max_active_replication_origins"] = MOST
    if recovery:
        found |= {"recovery_target_action": "promote", **recovery}
    return "".join(f"{key} = {_quoted(value)}\n" for key, value in found.items())


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
