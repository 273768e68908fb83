"""What a backup is of, whether it was proven by a restore, and where its copies are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # Old rows know nothing of it: nothing was ever verified, encrypted or copied by the versions that wrote them.
    for column in (
        sa.Column("verified_at", sa.String(length=32), nullable=True),
        sa.Column("content", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("encrypted", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("copied_at", sa.String(length=32), nullable=True),
        sa.Column("copy_error", sa.Text(), nullable=True),
        sa.Column("parent", sa.String(length=255), nullable=True),
        sa.Column("database", sa.String(length=255), nullable=True),
        sa.Column("system_identifier", sa.String(length=32), nullable=True),
        sa.Column("server_major", sa.Integer(), nullable=True),
        sa.Column("wal_lsn", sa.String(length=32), nullable=True),
        sa.Column("read_bytes", sa.BigInteger(), nullable=True),
        sa.Column("took_s", sa.Float(), nullable=True),
        sa.Column("number", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("alarm", sa.Text(), nullable=True),
        sa.Column("same_disk", sa.Boolean(), nullable=True),
    ):
        op.add_column("backups", column)
    backups = sa.table("backups", sa.column("id", sa.String()), sa.column("number", sa.Integer()))
    ids = op.get_bind().execute(sa.text("SELECT id FROM backups ORDER BY created_at, id")).scalars().all()
    for number, id_ in enumerate(ids, start=1):
        op.execute(backups.update().where(backups.c.id == id_).values(number=number))
