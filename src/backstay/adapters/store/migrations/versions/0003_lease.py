"""What tells that an owner lives when clocks do not: a lease's length, its beats, the uptime at the last one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    with op.batch_alter_table("leases") as table:
        table.add_column(sa.Column("lasts_s", sa.Float(), nullable=True))
        table.add_column(sa.Column("beat", sa.Integer(), nullable=True))
        table.add_column(sa.Column("heard_boot", sa.String(length=64), nullable=True))
        table.add_column(sa.Column("heard_at", sa.Float(), nullable=True))
