"""The settings of a scratch server: nothing of it need survive a power cut, and all that it does is logged as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

ACCESS: Final = "host all all all scram-sha-256\n"

_SETTINGS: Final = {
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "archive_mode": "off",
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


def settings(addresses: Sequence[str], log: str, recovery: Mapping[str, str]) -> str:
    """A whole postgresql.conf. `recovery` are settings of a recovery to a point in time."""
    found = {**_SETTINGS, "listen_addresses": ",".join(addresses), "log_directory": log}
    if recovery:
        found |= {"recovery_target_action": "promote", **recovery}
    return "".join(f"{key} = {_quoted(value)}\n" for key, value in found.items())


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
