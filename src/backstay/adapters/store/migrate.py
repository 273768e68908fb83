"""Running the migrations. Alembic is imported only then: it costs more time than all of a short command."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection

from backstay.errors import StoreError


def migrate(connection: Connection, name: str, migrations: Path) -> None:
    """Run what is missing, in the transaction of `connection`. StoreError when the migrations are damaged."""
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreError(
            f"the state store {name} cannot be upgraded: {error}",
            hint="reinstall Backstay; its migrations are damaged",
        ) from error
