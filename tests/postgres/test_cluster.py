"""Databases beside the live one, on a real server: copies, the swap, what is carried over, what is counted."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backstay.adapters.postgres import PostgresTools
from backstay.adapters.postgres.cluster import PostgresCluster
from backstay.domain.restore import Change, Loss, Mark, Role, renamed
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError
from backstay.ports.cluster import Written
from backstay.ports.database import DumpOrder, RestoreOrder
from tests.postgres.conftest import ROWS, left_alone
from tests.postgres.server import Server
from tests.world import World
from tests.world.postgres import DatabaseUrls

pytestmark = pytest.mark.world

ENDED = ("terminating connection", "server closed the connection", "just been dropped or renamed")
"""What those hear who were signed in, or about to be, when a database was copied or swapped."""


@pytest.fixture
def cluster(database: DatabaseUrls) -> PostgresCluster:
    return PostgresCluster(Secret(database["host"]), "d1")


@pytest.fixture
def before(database: DatabaseUrls) -> Mark:
    return Mark("shop", "dev", "d1", Role.BEFORE, database["name"], "2026-11-23T10:00:00.000Z")


@contextmanager
def signed_in(database: DatabaseUrls, name: str = "somebody") -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database["host"], autocommit=True, application_name=name) as connection:
        yield connection


def read(url: str, query: str) -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(query.encode()).fetchone()
        return found[0] if found else None


def at(database: DatabaseUrls, name: str) -> str:
    return renamed(Secret(database["admin"]), name).reveal()


def test_a_copy_holds_everything_and_ends_only_those_who_were_signed_in(
    database: DatabaseUrls, cluster: PostgresCluster, before: Mark
) -> None:
    with signed_in(database) as session:
        session.execute("DELETE FROM products WHERE id = 1")
        ended = cluster.copy(before, 30)
        assert [str(one) for one in ended] == [f"{database['user']} (somebody) from 127.0.0.1"]
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    assert read(at(database, before.name), "SELECT count(*) FROM products") == ROWS - 1
    assert [(one.name, one.mark) for one in cluster.beside(database["name"])] == [(before.name, before)]
    assert read(database["host"], "SELECT count(*) FROM products") == ROWS - 1


def test_who_signs_in_while_a_copy_or_a_swap_is_made_waits_and_is_not_refused(
    database: DatabaseUrls, cluster: PostgresCluster, before: Mark
) -> None:
    refused: list[str] = []
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            try:
                with psycopg.connect(database["host"], autocommit=True) as connection:
                    connection.execute("SELECT count(*) FROM products")
            except psycopg.OperationalError as error:
                if not any(words in str(error) for words in ENDED):
                    refused.append(str(error))

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        cluster.copy(before, 30)
        cluster.swap(before.name, replace(before, role=Role.FAILED), None, 30)
    finally:
        stop.set()
        thread.join()
    assert refused == []


def test_a_swap_takes_over_rights_settings_limit_and_comment(
    world: World, database: DatabaseUrls, cluster: PostgresCluster, before: Mark
) -> None:
    name, user = database["name"], database["user"]
    world.query(
        f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC; GRANT TEMPORARY ON DATABASE "{name}" TO PUBLIC;'
        f'ALTER DATABASE "{name}" CONNECTION LIMIT 7; COMMENT ON DATABASE "{name}" IS \'the shop\';'
        f'ALTER DATABASE "{name}" SET search_path TO "$user", public, "Odd, name";'
        f"ALTER ROLE \"{user}\" IN DATABASE \"{name}\" SET application_name TO 'it''s';"
    )
    told = (
        "SELECT datconnlimit || ' ' || array(SELECT unnest(datacl)::text ORDER BY 1)::text || ' '"
        " || coalesce(shobj_description(oid, 'pg_database'), '') || ' ' || datdba::regrole"
        f" FROM pg_database WHERE datname = '{name}'"
    )
    was = world.query(told)
    settings = (
        "SELECT setrole::regrole || setconfig::text FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase"
        f" WHERE datname = '{name}' ORDER BY 1"
    )
    set_ = world.query(settings)
    oid = world.query(f"SELECT oid FROM pg_database WHERE datname = '{name}'")
    restored = replace(before, role=Role.RESTORED)
    cluster.create(restored)
    world.query("CREATE TABLE products (id int); INSERT INTO products VALUES (1)", restored.name)
    cluster.swap(restored.name, before, cluster.writes(name), 30)
    assert world.query(f"SELECT oid FROM pg_database WHERE datname = '{name}'") != oid
    assert world.query(told) == was
    assert world.query(settings) == set_
    assert read(database["admin"], "SELECT count(*) FROM products") == 1
    with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
        read(at(database, before.name), "SELECT 1")
    assert [one.name for one in cluster.beside(name)] == [before.name]


def test_a_swap_can_be_swapped_back(database: DatabaseUrls, cluster: PostgresCluster, before: Mark) -> None:
    name = database["name"]
    cluster.copy(before, 30)
    with signed_in(database) as session:
        session.execute("DROP TABLE products")
    failed = replace(before, role=Role.FAILED)
    cluster.swap(before.name, failed, None, 30)
    assert read(database["host"], "SELECT count(*) FROM products") == ROWS
    assert [one.name for one in cluster.beside(name)] == [failed.name]
    cluster.swap(failed.name, before, None, 30)
    assert read(database["host"], "SELECT to_regclass('products') IS NULL") is True
    assert cluster.drop(before) and not cluster.drop(before)
    assert not cluster.exists(before.name) and cluster.exists(name)


def test_a_write_after_the_count_stops_the_swap_and_changes_nothing(
    database: DatabaseUrls, cluster: PostgresCluster, before: Mark
) -> None:
    restored = replace(before, role=Role.RESTORED)
    cluster.create(restored)
    counted = cluster.writes(database["name"])
    with signed_in(database) as session:
        session.execute("INSERT INTO products VALUES (0, 'late')")
    with pytest.raises(Written, match=r"was written to .* \(1 rows\)"):
        cluster.swap(restored.name, before, counted, 30)
    assert read(database["host"], "SELECT count(*) FROM products") == ROWS + 1
    assert cluster.exists(restored.name) and not cluster.exists(before.name)


def test_a_swap_whose_session_dies_at_any_moment_leaves_the_live_database_whole(
    world: World, database: DatabaseUrls, cluster: PostgresCluster, before: Mark
) -> None:
    """Case 8. What one who died began is ended by `settle`; afterwards the names tell how far it got."""
    restored = replace(before, role=Role.RESTORED)
    cluster.create(restored)
    outcomes = set()
    for wait_s in (0.0, 0.004, 0.008, 0.015, 0.03, 0.06):
        job = threading.Thread(target=_quietly(lambda: cluster.swap(restored.name, before, None, 30)))
        job.start()
        time.sleep(wait_s)
        PostgresCluster(Secret(database["host"]), "d2").settle("d1")
        job.join()
        swapped = cluster.exists(before.name)
        outcomes.add(swapped)
        assert cluster.exists(restored.name) is not swapped
        expected = None if swapped else ROWS
        query = (
            "SELECT CASE WHEN to_regclass('products') IS NOT NULL THEN (xpath('/row/c/text()', query_to_xml("
        )
        query += "'SELECT count(*) AS c FROM products', false, true, '')))[1]::text::int END"
        assert read(database["host"], query) == expected
        if swapped:
            cluster.swap(before.name, restored, None, 30)
    print("swapped in", outcomes)


def _quietly(act: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        try:
            act()
        except DatabaseError:
            return

    return run


def test_what_does_not_carry_our_mark_is_never_dropped(
    world: World, database: DatabaseUrls, cluster: PostgresCluster, before: Mark
) -> None:
    cluster.copy(before, 30)
    world.query(f"COMMENT ON DATABASE \"{before.name}\" IS 'mine'")
    with pytest.raises(DatabaseError, match="does not carry our mark"):
        cluster.drop(before)
    assert cluster.exists(before.name)
    assert cluster.beside(database["name"]) == []


def test_rows_that_would_go_and_rows_that_would_come_back_are_counted_exactly(
    database: DatabaseUrls, cluster: PostgresCluster, before: Mark
) -> None:
    cluster.copy(before, 30)
    with signed_in(database) as session:
        session.execute("INSERT INTO products SELECT n, 'new' FROM generate_series(9001, 9005) n")
        session.execute("DELETE FROM products WHERE id IN (3, 4)")
        session.execute("UPDATE products SET name = 'other' WHERE id = 7")
        session.execute("CREATE TABLE notes AS SELECT 1 AS n FROM generate_series(1, 3)")
        session.execute("CREATE TABLE twins AS SELECT 1 AS n")
    live, copy = Secret(database["host"]), renamed(Secret(database["host"]), before.name)
    tables = ["public.products", "public.notes", "public.twins", "public.nowhere"]
    found = cluster.loss(live, copy, tables, 30, lambda: False)
    assert found == Loss(
        {"public.products": Change(6, 3), "public.notes": Change(3, 0), "public.twins": Change(1, 0)}
    )
    assert found.rows == 13
    contents = [PostgresTools().content(url, 30) for url in (live, copy)]
    from backstay.domain.restore import differing

    assert set(differing(*contents)) == {"public.products", "public.notes", "public.twins"}


def test_a_right_that_is_missing_is_named_with_its_cure(
    world: World, database: DatabaseUrls, cluster: PostgresCluster
) -> None:
    name = database["name"]
    assert cluster.refuse_unfit(name) == ()
    with (
        psycopg.connect(database["admin"], autocommit=True),
        pytest.raises(DatabaseError, match="may not end the sessions of world"),
    ):
        cluster.refuse_unfit(name)
    left_alone(world, name)
    world.query(f'ALTER DATABASE "{name}" OWNER TO world')
    with pytest.raises(DatabaseError, match=r"may not rename .*, which belongs to world"):
        cluster.refuse_unfit(name)
    world.query(f'ALTER DATABASE "{name}" OWNER TO "{name}"; ALTER ROLE "{name}" NOCREATEDB')
    with pytest.raises(DatabaseError, match="may not make a database") as caught:
        cluster.refuse_unfit(name)
    assert caught.value.hint and "admin_url_secret" in caught.value.hint
    with pytest.raises(DatabaseError, match="no database nowhere"):
        cluster.refuse_unfit("nowhere")


def test_an_empty_database_is_made_in_the_shape_of_the_live_one(
    world: World, database: DatabaseUrls, cluster: PostgresCluster, before: Mark
) -> None:
    name = f"sh4pe_{os.getpid()}"
    world.query(
        f'CREATE DATABASE "{name}" OWNER "{database["user"]}" TEMPLATE template0 ENCODING LATIN1 LC_COLLATE "C" '
        'LC_CTYPE "C"'
    )
    try:
        mark = replace(before, live=name)
        cluster.create(mark)
        shape = (
            "SELECT pg_encoding_to_char(encoding) || datcollate || datctype FROM pg_database WHERE datname = "
        )
        assert world.query(f"{shape}'{mark.name}'") == world.query(f"{shape}'{name}'")
        assert cluster.drop(mark)
    finally:
        world.query(f'DROP DATABASE "{name}" WITH (FORCE)')


def test_a_subscription_keeps_none_of_our_databases(server: Server, tmp_path: Path) -> None:
    """It would keep a database from being dropped, and two subscriptions would follow with one slot."""
    url = Secret(server.create_database("shop"))
    server.query(
        "CREATE TABLE item (id int); CREATE SUBSCRIPTION feed CONNECTION 'host=127.0.0.1 port=1 dbname=x'"
        " PUBLICATION p WITH (connect = false)",
        "shop",
    )
    made = PostgresTools().dump(DumpOrder(url, tmp_path, "x"))
    cluster = PostgresCluster(url, "d1")
    restored, before = (
        Mark("shop", "dev", "d1", role, "shop", "2026-11-23T10:00:00.000Z")
        for role in (Role.RESTORED, Role.BEFORE)
    )
    cluster.create(restored)
    PostgresTools().restore(RestoreOrder(made.path, renamed(url, restored.name), jobs=1))
    there = "SELECT datname FROM pg_subscription JOIN pg_database d ON d.oid = subdbid"
    assert server.query(there) == "shop"
    cluster.swap(restored.name, before, None, 30)
    assert server.query(there) == before.name
    assert cluster.drop(before) and server.query(there) == ""
    server.drop_database("shop")


def test_where_the_server_counts_no_writes_it_says_so(
    world: World, database: DatabaseUrls, cluster: PostgresCluster
) -> None:
    """Rows that nobody counted would pass for none, and the loss counted before the hold for that under it."""
    name = database["name"]
    assert cluster.writes(name) is not None
    world.query(f'ALTER DATABASE "{name}" SET track_counts = off')
    assert cluster.writes(name) is None
    [note] = cluster.refuse_unfit(name)
    assert "track_counts is off" in note
