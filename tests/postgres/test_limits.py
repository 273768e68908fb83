"""What role, database or server set for the application's sessions does not end ours, nor keep us from writing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backstay.adapters.postgres import PostgresTools
from backstay.adapters.postgres.cluster import PostgresCluster
from backstay.adapters.postgres.connection import environment
from backstay.adapters.postgres.session import session, unlimited
from backstay.domain.content import differences
from backstay.domain.restore import Mark, Role, renamed
from backstay.domain.secret import Secret
from backstay.ports.database import DumpOrder, RestoreOrder
from tests.postgres.conftest import left_alone
from tests.postgres.server import Server
from tests.world import World
from tests.world.postgres import DatabaseUrls

pytestmark = pytest.mark.world
TOOLS = PostgresTools()


@pytest.fixture
def restored(database: DatabaseUrls) -> Iterator[Mark]:
    mark = Mark("shop", "dev", "d1", Role.RESTORED, database["name"], "2026-11-23T10:00:00.000Z")
    yield mark
    PostgresCluster(Secret(database["admin"]), "d1").drop(mark)


def test_a_restore_beside_a_database_that_is_read_only_and_lets_few_in(
    world: World, database: DatabaseUrls, restored: Mark, tmp_path: Path
) -> None:
    """Read-only is how somebody stops the damage before a restore. The limit counts our own sessions too."""
    name, url = database["name"], Secret(database["host"])
    made = TOOLS.dump(DumpOrder(url, tmp_path, "x"))
    world.query(
        f'ALTER DATABASE "{name}" SET default_transaction_read_only TO on;'
        f'ALTER DATABASE "{name}" CONNECTION LIMIT 1; ALTER ROLE "{database["user"]}" CONNECTION LIMIT 4'
    )
    left_alone(world, name)
    cluster = PostgresCluster(url, "d1")
    cluster.create(restored)
    limit = "SELECT datconnlimit FROM pg_database WHERE datname = "
    assert world.query(f"{limit}'{restored.name}'").strip() == "-1"
    into = renamed(url, restored.name)
    TOOLS.restore(RestoreOrder(made.path, into, jobs=8, analyze=True))
    assert made.content is not None and differences(made.content, TOOLS.content(into, 30)) == ()
    before = Mark("shop", "dev", "d1", Role.BEFORE, name, restored.at)
    cluster.swap(restored.name, before, None, 30)
    assert world.query(f"{limit}'{name}'").strip() == "1"
    world.query(f'ALTER DATABASE "{name}" RESET ALL; ALTER DATABASE "{name}" CONNECTION LIMIT -1')
    assert cluster.drop(before)


def test_a_session_of_ours_has_the_limits_that_we_set_and_no_others(server: Server) -> None:
    server.query(
        "CREATE ROLE hasty LOGIN PASSWORD 'h4sty'; ALTER ROLE hasty SET statement_timeout = 200;"
        "ALTER ROLE hasty SET lock_timeout = 200; ALTER ROLE hasty SET idle_session_timeout = 200;"
        "ALTER ROLE hasty SET default_transaction_read_only = on;"
        "ALTER ROLE hasty SET idle_in_transaction_session_timeout = 200"
    )
    url = Secret(
        f"postgresql://hasty:h4sty@127.0.0.1:{server.port}/postgres?options=-c%20statement_timeout%3D100"
    )
    with environment(url) as env, session(env, 30) as asked:
        asked.rows("SELECT pg_sleep(0.4)")
        settings = asked.rows(
            "SELECT name FROM pg_settings WHERE setting NOT IN ('0', 'off') AND (name ~ '^(statement|lock|transaction)_"
            "timeout$' OR name ~ '^idle.*session_timeout$' OR name = 'default_transaction_read_only')"
        )
        assert settings == []


@pytest.mark.parametrize(
    ("major", "last"), [(13, "idle_in_transaction_session"), (14, "idle_session"), (17, "transaction")]
)
def test_a_server_is_asked_for_the_limits_that_it_knows(major: int, last: str) -> None:
    """One that it does not know would end the connection."""
    options = unlimited(major).split(" -c ")
    assert options[-2:] == [f"{last}_timeout=0", "default_transaction_read_only=off"]


def test_a_pooler_that_lets_no_options_through_is_signed_in_to_without_them(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is set later would stay for its other clients."""
    connect = psycopg.connect

    def through_a_pooler(**keys: Any) -> Any:
        if "default_transaction_read_only" in keys["options"]:
            raise psycopg.OperationalError("FATAL:  unsupported startup parameter: options")
        return connect(**keys)

    monkeypatch.setattr(psycopg, "connect", through_a_pooler)
    server.query("CREATE DATABASE pooled TEMPLATE template0")
    server.query("ALTER DATABASE pooled SET statement_timeout = 7000")
    with environment(Secret(server.url_of("pooled"))) as env, session(env, 30) as asked:
        assert asked.value("SHOW statement_timeout") == "7s"
    server.drop_database("pooled")
