"""The first schema: deployments with their journal and events, leases, slots, releases and backups."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

SAID = sa.String(length=255).with_variant(sa.Text(), "postgresql")


def upgrade() -> None:
    create_releases()
    create_deployments()
    create_steps()
    create_events()
    create_leases()
    create_slots()
    create_backups()


def create_releases() -> None:
    op.create_table(
        "releases",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("app", sa.String(length=255), nullable=False),
        sa.Column("version", SAID, nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_releases"),
    )


def create_deployments() -> None:
    op.create_table(
        "deployments",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("app", sa.String(length=255), nullable=False),
        sa.Column("environment", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("version", SAID, nullable=False),
        sa.Column("release", sa.String(length=32), nullable=True),
        sa.Column("previous", sa.String(length=32), nullable=True),
        sa.Column("token", sa.Integer(), nullable=True),
        sa.Column("requested_by", SAID, nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.Column("finished_at", sa.String(length=32), nullable=True),
        sa.Column("failed_step", SAID, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("hint", sa.Text(), nullable=True),
        sa.Column("switch_s", sa.Float(), nullable=True),
        sa.Column("rollback_s", sa.Float(), nullable=True),
        sa.Column("total_s", sa.Float(), nullable=True),
        sa.Column("backup", sa.String(length=255), nullable=True),
        sa.Column("incident", sa.String(length=255), nullable=True),
        sa.Column("exit_status", sa.Integer(), nullable=True),
        sa.Column("automatic", sa.Boolean(), nullable=False),
        sa.Column("wish", sa.String(length=32), nullable=True),
        sa.Column("previous_version", SAID, nullable=True),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("extra", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["release"], ["releases.id"], name="fk_deployments_release"),
        sa.PrimaryKeyConstraint("number", name="pk_deployments"),
        sa.UniqueConstraint("id", name="uq_deployments_id"),
    )
    op.create_index("ix_deployments_app_environment_number", "deployments", ["app", "environment", "number"])


def create_steps() -> None:
    op.create_table(
        "steps",
        sa.Column("deployment", sa.String(length=255), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("started_at", sa.String(length=32), nullable=False),
        sa.Column("took_s", sa.Float(), nullable=True),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["deployment"], ["deployments.id"], name="fk_steps_deployment"),
        sa.PrimaryKeyConstraint("deployment", "position", name="pk_steps"),
        sa.UniqueConstraint("deployment", "name", name="uq_steps_deployment_name"),
    )


def create_events() -> None:
    op.create_table(
        "events",
        sa.Column("deployment", sa.String(length=255), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("step", sa.String(length=255), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["deployment"], ["deployments.id"], name="fk_events_deployment"),
        sa.PrimaryKeyConstraint("deployment", "seq", name="pk_events"),
    )


def create_leases() -> None:
    op.create_table(
        "leases",
        sa.Column("app", sa.String(length=255), nullable=False),
        sa.Column("environment", sa.String(length=255), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("purpose", SAID, nullable=True),
        sa.Column("deployment", sa.String(length=255), nullable=True),
        sa.Column("acquired_at", sa.Float(), nullable=True),
        sa.Column("expires_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("app", "environment", name="pk_leases"),
    )


def create_slots() -> None:
    op.create_table(
        "slots",
        sa.Column("app", sa.String(length=255), nullable=False),
        sa.Column("environment", sa.String(length=255), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("saved_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("app", "environment", name="pk_slots"),
    )


def create_backups() -> None:
    op.create_table(
        "backups",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("app", sa.String(length=255), nullable=False),
        sa.Column("environment", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("deployment", sa.String(length=255), nullable=True),
        sa.Column("pinned", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_backups"),
    )
    op.create_index("ix_backups_app_environment_created_at", "backups", ["app", "environment", "created_at"])
