"""A server whose write-ahead log is received, asked with `psql`."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from typing import Any, Final

from backstay.adapters.postgres.connection import environment, password
from backstay.adapters.postgres.tools import failed, find_tool
from backstay.domain.secret import Secret, redact
from backstay.domain.wal import parse_lsn
from backstay.errors import DatabaseError
from backstay.ports.wal import ServerPosition

# The time comes first: what is committed by then lies at or before the position that is read after it.
# A standby has no position of its own, only what it received.
_POSITION: Final = """\
SELECT json_build_object(
  'at', extract(epoch FROM clock_timestamp()),
  'lsn', CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_flush_lsn() END,
  'timeline', CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint())
    ELSE ('x' || substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8))::bit(32)::int END,
  'version', current_setting('server_version_num')::int,
  'system', (SELECT system_identifier::text FROM pg_control_system()),
  'segment', (SELECT setting::bigint * CASE unit WHEN '8kB' THEN 8192 ELSE 1 END
    FROM pg_settings WHERE name = 'wal_segment_size'),
  'keep', (SELECT setting::bigint FROM pg_settings WHERE name = 'max_slot_wal_keep_size'),
  'slot', (SELECT json_build_object('received', restart_lsn, 'active', active, 'status', wal_status)
    FROM pg_replication_slots WHERE slot_name = :'slot'))
"""
_DROP_SLOT: Final = """\
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = :'slot'
"""
_MAKE_CANARY: Final = """\
CREATE SCHEMA IF NOT EXISTS backstay;
CREATE TABLE IF NOT EXISTS backstay.canary (at timestamptz NOT NULL);
"""
# One statement, so one transaction: there is one row at any time, or the first one is written.
_BEAT: Final = """\
WITH gone AS (DELETE FROM backstay.canary)
INSERT INTO backstay.canary SELECT clock_timestamp() RETURNING extract(epoch FROM at);
"""
_HAS_CANARY: Final = "SELECT to_regclass('backstay.canary') IS NOT NULL;\n"
_LAST_BEAT: Final = "SELECT extract(epoch FROM max(at)) FROM backstay.canary;\n"
_MIB: Final = 1024 * 1024


class PostgresWalServer:
    """Implements ports.wal.WalServer."""

    def position(self, url: Secret, slot: str, deadline_s: float) -> ServerPosition:
        said = _ask(url, _POSITION, deadline_s, slot=slot)
        try:
            return _position(json.loads(said))
        except (KeyError, TypeError, ValueError) as error:
            raise DatabaseError(
                "psql answered something else than it was asked", hint="is it a PostgreSQL server?"
            ) from error

    def drop_slot(self, url: Secret, slot: str, deadline_s: float) -> None:
        _ask(url, _DROP_SLOT, deadline_s, slot=slot)

    def beat(self, url: Secret, deadline_s: float) -> datetime:
        if _ask(url, _HAS_CANARY, deadline_s) != "t":
            _ask(url, _MAKE_CANARY, deadline_s)
        return _moment(_ask(url, _BEAT, deadline_s))

    def last_beat(self, url: Secret, deadline_s: float) -> datetime | None:
        if _ask(url, _HAS_CANARY, deadline_s) != "t":
            return None
        said = _ask(url, _LAST_BEAT, deadline_s)
        return _moment(said) if said else None


def _position(found: dict[str, Any]) -> ServerPosition:
    slot = found["slot"] or {}
    keep = int(found["keep"])
    return ServerPosition(
        at=_moment(found["at"]),
        lsn=parse_lsn(found["lsn"]),
        timeline=int(found["timeline"]),
        major=int(found["version"]) // 10000,
        system_identifier=str(found["system"]),
        segment_bytes=int(found["segment"]),
        received=parse_lsn(slot["received"]) if slot.get("received") else None,
        active=bool(slot.get("active")),
        lost=slot.get("status") == "lost",
        keep_bytes=None if keep < 0 else keep * _MIB,
    )


def _moment(epoch: str | float) -> datetime:
    return datetime.fromtimestamp(float(epoch), UTC)


def _ask(url: Secret, sql: str, deadline_s: float, **variables: str) -> str:
    """The one value that a statement answers with."""
    settings = [word for name, value in variables.items() for word in ("-v", f"{name}={value}")]
    argv = [find_tool("psql"), "-X", "-q", "-w", "-At", "-v", "ON_ERROR_STOP=1", *settings, "-f", "-"]
    try:
        with environment(url) as env:
            env["PGCONNECT_TIMEOUT"] = str(max(2, int(deadline_s)))  # libpq takes 1 for 2
            done = subprocess.run(
                argv, env=env, input=sql.encode(), capture_output=True, timeout=deadline_s, check=False
            )
    except subprocess.TimeoutExpired:
        done = None
    if done is None:  # outside the handler: the error would carry the whole call with it
        raise DatabaseError(
            f"the database did not answer within {deadline_s:g} s",
            hint="does the server hang, or a firewall drop packets?",
        )
    if done.returncode != 0:
        error = failed("psql", done.returncode, done.stderr)
        raise DatabaseError(redact(error.message, [url, password(url)]), hint=error.hint)
    return done.stdout.decode(errors="replace").strip()
