"""A migration of a later Backstay."""

from __future__ import annotations

import shutil
from pathlib import Path

from backstay.adapters.store.schema import MIGRATIONS, revisions

NEXT = "9001"
MIGRATION = f"""
from alembic import op
import sqlalchemy as sa
revision = "{NEXT}"
down_revision = "{revisions()[-1]}"

def upgrade():
    with op.batch_alter_table("events") as table:
        table.add_column(sa.Column("note", sa.Text()))
    op.execute("UPDATE events SET note = 'upgraded'")
"""


def migrations_in(folder: Path) -> Path:
    """The migrations of this Backstay and the later one."""
    migrations = folder / "migrations"
    shutil.copytree(MIGRATIONS, migrations, ignore=shutil.ignore_patterns("__pycache__"))
    (migrations / "versions" / f"{NEXT}_later.py").write_text(MIGRATION)
    return migrations
