"""Schedules and their runs, the evidence of drills, and standing alarms."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "watches",
        *_environment(),
        sa.Column("since", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("app", "environment", name="pk_watches"),
    )
    op.create_table(
        "duty_runs",
        sa.Column("id", sa.Integer(), nullable=False),
        *_environment(),
        sa.Column("duty", sa.String(length=32), nullable=False),
        sa.Column("due_at", sa.String(length=32), nullable=True),
        sa.Column("began_at", sa.String(length=32), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("ended_at", sa.String(length=32), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_duty_runs"),
    )
    op.create_index("ix_duty_runs_app_environment_duty_id", "duty_runs", ["app", "environment", "duty", "id"])
    _drills()
    op.create_table(
        "alarms",
        *_environment(),
        sa.Column("subject", sa.String(length=32), nullable=False),
        sa.Column("since", sa.String(length=32), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("app", "environment", "subject", name="pk_alarms"),
    )


def _environment() -> tuple[sa.Column[str], sa.Column[str]]:
    return (
        sa.Column("app", sa.String(length=255), nullable=False),
        sa.Column("environment", sa.String(length=255), nullable=False),
    )


def _drills() -> None:
    op.create_table(
        "drills",
        sa.Column("id", sa.Integer(), nullable=False),
        *_environment(),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("began_at", sa.String(length=32), nullable=False),
        sa.Column("ended_at", sa.String(length=32), nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=True),
        sa.Column("release", sa.String(length=255), nullable=True),
        sa.Column("rto_s", sa.Float(), nullable=True),
        sa.Column("rpo_s", sa.Float(), nullable=True),
        sa.Column("rto_target_s", sa.Float(), nullable=True),
        sa.Column("rpo_target_s", sa.Float(), nullable=True),
        sa.Column("proofs", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.String(length=255), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_drills"),
    )
    op.create_index("ix_drills_app_environment_kind_id", "drills", ["app", "environment", "kind", "id"])
