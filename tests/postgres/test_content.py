"""What two databases hold, compared on a real server: what changed is not called equal, nor what is whole damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from backstay.adapters.postgres import PostgresTools
from backstay.adapters.postgres import cluster as cluster_module
from backstay.adapters.postgres.cluster import PostgresCluster
from backstay.adapters.postgres.connection import environment
from backstay.adapters.postgres.content import begin, take
from backstay.adapters.postgres.session import session
from backstay.domain.content import differences, notes
from backstay.domain.restore import Change, Mark, Role, differing, renamed
from backstay.domain.secret import Secret
from backstay.ports.database import DumpOrder, RestoreOrder
from tests.postgres.server import Server

pytestmark = pytest.mark.world
TOOLS = PostgresTools()

Made = Callable[..., Secret]

SAME_BUT = {
    "float8": ("'0'", "'-0'"),
    "numeric": ("1.0", "1.00"),
    "numeric[]": ("'{1.0}'", "'{1.00}'"),
    "whole": ("1.0", "1.00"),
    "pair": ("(1.0, 'a')", "(1.00, 'a')"),
    "numrange": ("'[1.0,2)'", "'[1.00,2)'"),
    "interval": ("'1 day'", "'24 hours'"),
    "jsonb": ("'1.0'", "'1.00'"),
    "bpchar": ("'a'", "'a  '"),
    "citext": ("'a'", "'A'"),
    "text COLLATE ci": ("'bob@x'", "'Bob@X'"),
    "varchar(9) COLLATE ci": ("'bob@x'", "'Bob@X'"),
}
"""Types, and two values of each that the server calls equal, so that they have one hash."""

TYPES = """
CREATE EXTENSION citext; CREATE DOMAIN whole AS numeric; CREATE TYPE pair AS (n numeric, t text);
CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
"""


@pytest.fixture
def made(server: Server) -> Iterator[Made]:
    """Makes databases of these statements on a server of the test's own."""
    names: list[str] = []

    def make(name: str, statements: str, shape: str = "") -> Secret:
        quoted = '"' + name.replace('"', '""') + '"'
        server.query(f"CREATE DATABASE {quoted} TEMPLATE template0 {shape}")
        names.append(quoted)
        url = renamed(Secret(server.url), name)
        change(url, statements)
        return url

    yield make
    for quoted in names:
        server.query(f"DROP DATABASE {quoted} WITH (FORCE)")


def change(url: Secret, statements: str) -> None:
    with psycopg.connect(url.reveal(), autocommit=True, client_encoding="UTF8") as connection:
        connection.execute(statements.encode())


def lost(live: Secret, restored: Secret) -> dict[str, Change]:
    """What replacing the live one would change, as a restore asks it."""
    tables = differing(TOOLS.content(live, 30), TOOLS.content(restored, 30))
    loss = PostgresCluster(live, "d1").loss(live, restored, tables, 30, lambda: False)
    return dict(loss.tables)


def test_what_the_server_calls_equal_and_is_another_value_counts_as_lost(made: Made) -> None:
    """Law 7: 'bob@x' that somebody made 'Bob@X' is a newer write."""
    tables = "".join(
        f"CREATE TABLE t{n} (id int, v {type_}); INSERT INTO t{n} VALUES (1, {was});"
        for n, (type_, (was, _)) in enumerate(SAME_BUT.items())
    )
    live, restored = (made(name, TYPES + tables) for name in ("live", "restored"))
    assert lost(live, restored) == {}
    change(live, "".join(f"UPDATE t{n} SET v = {now};" for n, (_, now) in enumerate(SAME_BUT.values())))
    assert lost(live, restored) == {f"public.t{n}": Change(1, 1) for n in range(len(SAME_BUT))}


def test_a_table_that_inherits_is_the_same_in_whatever_order_its_columns_are(made: Made) -> None:
    live = made(
        "live",
        "CREATE TABLE p (a int); CREATE TABLE c (b text) INHERITS (p); ALTER TABLE p ADD COLUMN d int;"
        "INSERT INTO c (a, b, d) VALUES (1, 'x', 2), (3, 'y', 4)",
    )
    restored = made(
        "restored",
        "CREATE TABLE p (a int, d int); CREATE TABLE c (b text) INHERITS (p);"
        "INSERT INTO c (a, b, d) VALUES (1, 'x', 2), (3, 'y', 4)",
    )
    assert differences(TOOLS.content(live, 30), TOOLS.content(restored, 30)) == ()
    change(live, "UPDATE c SET d = 5 WHERE a = 3")
    assert lost(live, restored) == {"public.c": Change(1, 1)}


GOOD = {
    "an extension that is older than the server's default": "CREATE EXTENSION pg_trgm VERSION '1.5'",
    "a column that a parent got later": "CREATE TABLE p (a int); CREATE TABLE c (b text) INHERITS (p);"
    "ALTER TABLE p ADD COLUMN d int; INSERT INTO c VALUES (1, 'x', 2)",
    "a table that was made to inherit": "CREATE TABLE c (b text, a int); CREATE TABLE p (a int);"
    "ALTER TABLE c INHERIT p; INSERT INTO c VALUES ('x', 2)",
    "a schema public of another name": 'ALTER SCHEMA public RENAME TO "my shop"; CREATE TABLE "my shop".t (a int);'
    "CREATE SCHEMA shut; CREATE SCHEMA open; GRANT CREATE ON SCHEMA open TO PUBLIC",
    "no schema public": "DROP SCHEMA public; CREATE SCHEMA x; CREATE TABLE x.t (a int)",
}


def test_a_good_backup_is_not_called_damaged(made: Made, tmp_path: Path) -> None:
    told = {}
    for n, (what, statements) in enumerate(GOOD.items()):
        live, copy = made(f"good{n}", statements), made(f"copy{n}", "")
        dump = TOOLS.dump(DumpOrder(live, tmp_path, f"good{n}"))
        assert dump.content is not None
        TOOLS.restore(RestoreOrder(dump.path, copy, jobs=1))
        found = TOOLS.content(copy, 30)
        told[what] = differences(dump.content, found)
        if n == 0:
            [noted] = notes(dump.content, found)
            assert "pg_trgm" in noted and noted.endswith("was of 1.5")
    assert told == dict.fromkeys(GOOD, ())


def test_who_owns_the_functions_of_a_range_type_is_the_matter_of_the_server(made: Made) -> None:
    """They belong to its first superuser, who has another name on another one."""
    content = TOOLS.content(made("ranges", "CREATE TYPE span AS RANGE (subtype = float8)"), 30)
    assert any("span" in line for line in content.objects["types"])
    assert not [line for kind in ("functions", "owners") for line in content.objects[kind] if "span" in line]


def test_what_was_counted_is_not_locked_any_more(made: Made) -> None:
    """The lock table is shared: a database of many tables would leave the application without any."""
    url = made("many", "CREATE TABLE a (id serial PRIMARY KEY); CREATE TABLE b (id serial PRIMARY KEY)")
    with environment(url) as env, session(env, 30) as asked:
        begin(asked, 30, 5)
        change(url, "INSERT INTO a DEFAULT VALUES")
        content = take(asked)
        held = asked.rows(
            "SELECT relation::regclass::text FROM pg_locks WHERE pid = pg_backend_pid() AND relation >= 16384"
        )
        assert held == []
        assert content.rows == 0, "its snapshot is older"


class TestEncodings:
    @pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
    def test_names_and_rows_come_back(self, made: Made, tmp_path: Path, encoding: str) -> None:
        shape = f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
        live = made("Tür", 'CREATE TABLE "Tür" ("größe" text); INSERT INTO "Tür" VALUES (\'schön\')', shape)
        if encoding == "SQL_ASCII":  # where any bytes may be
            with psycopg.connect(live.reveal(), autocommit=True) as connection:
                connection.execute(b"INSERT INTO \"T\xc3\xbcr\" VALUES ('\xff\xfe')")
        copy = made("copy", "", shape)
        dump = TOOLS.dump(DumpOrder(live, tmp_path, "x"))
        assert dump.notes == () and dump.content is not None
        assert list(dump.content.tables) == ['public."Tür"'] and dump.facts and dump.facts.database == "Tür"
        TOOLS.restore(RestoreOrder(dump.path, copy, jobs=1))
        assert differences(dump.content, TOOLS.content(copy, 30)) == ()
        assert lost(live, copy) == {}

    def test_the_database_that_is_worked_from_may_have_another_than_the_live_one(
        self, made: Made, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made("ascii", "", "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
        monkeypatch.setattr(cluster_module, "MAINTENANCE", "ascii")
        live = made("Tür", "CREATE TABLE t (a int)")
        cluster = PostgresCluster(live, "d1")
        mark = Mark("shop", "dev", "d1", Role.RESTORED, "Tür", "2026-11-23T10:00:00.000Z")
        cluster.create(mark)
        assert [one.mark for one in cluster.beside("Tür")] == [mark]
        assert cluster.drop(mark)
