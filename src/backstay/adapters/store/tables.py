"""The tables of the store. A change here needs a migration beside it; a test compares the two.

Structured values (a release, settings, an owner) are JSON text: they are read whole, never searched inside.
Times are RFC 3339 UTC text, except those of the lease, which are compared and so are epoch seconds.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
)
from sqlalchemy import UniqueConstraint as Unique

METADATA: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

# What people and programs say has no limit that a server could enforce against them.
_Said: Final = String(255).with_variant(Text(), "postgresql")

releases = Table(
    "releases",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("app", String(255), nullable=False),
    Column("version", _Said, nullable=False),
    Column("content", Text, nullable=False),
    Column("recorded_at", String(32), nullable=False),
)

# `number` is the order in which deployments were recorded: two may share a millisecond of `created_at`.
deployments = Table(
    "deployments",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("id", String(255), nullable=False),
    Column("app", String(255), nullable=False),
    Column("environment", String(255), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("state", String(32), nullable=False),
    Column("version", _Said, nullable=False),
    Column("release", String(32), ForeignKey("releases.id")),
    Column("previous", String(32)),
    Column("token", Integer),
    Column("requested_by", _Said, nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("finished_at", String(32)),
    Column("failed_step", _Said),
    Column("reason", Text),
    Column("hint", Text),
    Column("switch_s", Float),
    Column("rollback_s", Float),
    Column("total_s", Float),
    Column("backup", String(255)),
    Column("incident", String(255)),
    Column("exit_status", Integer),
    Column("automatic", Boolean, nullable=False),
    Column("wish", String(32)),
    Column("previous_version", _Said),
    Column("settings", Text, nullable=False),
    Column("extra", Text, nullable=False),
    Unique("id"),
    Index(None, "app", "environment", "number"),
)

steps = Table(
    "steps",
    METADATA,
    Column("deployment", String(255), ForeignKey("deployments.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("name", String(255), nullable=False),
    Column("state", String(32), nullable=False),
    Column("started_at", String(32), nullable=False),
    Column("took_s", Float),
    Column("result", Text, nullable=False),
    Column("error", Text),
    Unique("deployment", "name"),
)

events = Table(
    "events",
    METADATA,
    Column("deployment", String(255), ForeignKey("deployments.id"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", String(32), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("step", String(255)),
    Column("message", Text, nullable=False),
    Column("data", Text, nullable=False),
)

# A free lease is a row without an owner. The row is never deleted, so its token can only grow.
leases = Table(
    "leases",
    METADATA,
    Column("app", String(255), primary_key=True),
    Column("environment", String(255), primary_key=True),
    Column("token", Integer, nullable=False),
    Column("owner", Text),
    Column("purpose", _Said),
    Column("deployment", String(255)),
    Column("acquired_at", Float),
    Column("expires_at", Float),
    Column("lasts_s", Float),
    Column("beat", Integer),
    Column("heard_boot", String(64)),
    Column("heard_at", Float),
)

slots = Table(
    "slots",
    METADATA,
    Column("app", String(255), primary_key=True),
    Column("environment", String(255), primary_key=True),
    Column("content", Text, nullable=False),
    Column("token", Integer, nullable=False),
    Column("saved_at", String(32), nullable=False),
)

backups = Table(
    "backups",
    METADATA,
    Column("id", String(255), primary_key=True),
    Column("app", String(255), nullable=False),
    Column("environment", String(255), nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("state", String(32), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("path", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("deployment", String(255)),
    Column("pinned", Boolean, nullable=False),
    Column("verified_at", String(32)),
    Column("content", Boolean, nullable=False, server_default=false()),
    Column("encrypted", Boolean, nullable=False, server_default=false()),
    Column("copied_at", String(32)),
    Column("copy_error", Text),
    Column("parent", String(255)),
    Column("database", String(255)),
    Column("system_identifier", String(32)),
    Column("server_major", Integer),
    Column("wal_lsn", String(32)),
    Column("read_bytes", BigInteger),
    Column("took_s", Float),
    Column("number", Integer, nullable=False, server_default="0"),
    Column("alarm", Text),
    Column("same_disk", Boolean),
    Index(None, "app", "environment", "created_at"),
)

# One row per message and channel. A receiver's address is never here: `target` is its fingerprint. What is compared
# (when to try next, until when a sender owns the row) is epoch seconds, as in the lease.
notifications = Table(
    "notifications",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("app", String(255), nullable=False),
    Column("environment", String(255), nullable=False),
    Column("deployment", String(255)),
    Column("status", _Said, nullable=False),
    Column("component", _Said, nullable=False),
    Column("message", Text, nullable=False),
    Column("channel", String(255), nullable=False),
    Column("target", String(64), nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("state", String(32), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", Float),
    Column("last_error", Text),
    Column("claimed_by", _Said),
    Column("claimed_until", Float),
    Index(None, "app", "state"),
)

# On a server only: the last write of each connection of each process. A connection that broke during a commit leaves
# nobody who knows whether it happened; its key here does. `at` is epoch seconds.
writes = Table(
    "writes",
    METADATA,
    Column("key", String(32), primary_key=True),
    Column("at", Float, nullable=False),
)

# Since when somebody looks after the schedules of an environment: what was due before was not missed.
watches = Table(
    "watches",
    METADATA,
    Column("app", String(255), primary_key=True),
    Column("environment", String(255), primary_key=True),
    Column("since", String(32), nullable=False),
)

duty_runs = Table(
    "duty_runs",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("app", String(255), nullable=False),
    Column("environment", String(255), nullable=False),
    Column("duty", String(32), nullable=False),
    Column("due_at", String(32)),
    Column("began_at", String(32), nullable=False),
    Column("owner", Text, nullable=False),
    Column("outcome", String(32), nullable=False),
    Column("ended_at", String(32)),
    Column("detail", Text, nullable=False),
    Index(None, "app", "environment", "duty", "id"),
)

drills = Table(
    "drills",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("app", String(255), nullable=False),
    Column("environment", String(255), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("began_at", String(32), nullable=False),
    Column("ended_at", String(32), nullable=False),
    Column("ok", Boolean, nullable=False),
    Column("summary", Text, nullable=False),
    Column("subject", String(255)),
    Column("release", String(255)),
    Column("rto_s", Float),
    Column("rpo_s", Float),
    Column("rto_target_s", Float),
    Column("rpo_target_s", Float),
    Column("proofs", Text, nullable=False),
    Column("requested_by", String(255), nullable=False),
    Column("path", Text, nullable=False),
    Index(None, "app", "environment", "kind", "id"),
)

# At most one row for each subject of an environment: its presence is what keeps people from being told twice.
alarms = Table(
    "alarms",
    METADATA,
    Column("app", String(255), primary_key=True),
    Column("environment", String(255), primary_key=True),
    Column("subject", String(32), primary_key=True),
    Column("since", String(32), nullable=False),
    Column("message", Text, nullable=False),
)
