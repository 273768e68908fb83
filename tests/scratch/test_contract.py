"""What every scratch server must do, wherever it runs."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from backstay.adapters.scratch import OpenScratches, sql
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError
from backstay.ports.scratch import ScratchOrder
from tests.world import World

pytestmark = pytest.mark.world


def test_databases_and_roles_of_its_own_and_nothing_left(
    scratches: OpenScratches, any_order: ScratchOrder, root: Path
) -> None:
    with scratches.open(any_order) as server:
        assert server.major == any_order.major
        server.create("shop", like={"encoding": "UTF8", "collation": "C.UTF-8"})
        server.adopt_role("ann", "shop")
        sql.act(server.url("shop", "ann"), "CREATE TABLE t AS SELECT generate_series(1, 10) AS n")
        server.create("again", template="shop")
        assert sql.rows(server.url("again"), "SELECT count(*) FROM t") == [(10,)]
        server.drop("again")
        server.drop("again")
        with pytest.raises(DatabaseError, match="does not exist"):
            sql.rows(server.url("again"), "SELECT 1")
        assert server.keep("shop") == "template"
        sql.act(server.url("shop", "ann"), "DROP TABLE t")
        assert server.go_back("shop")
        assert sql.rows(server.url("shop"), "SELECT count(*) FROM t") == [(10,)]
        assert not server.go_back("shop")
        server.create("postgres")  # what an application's database may be called, too
        sql.act(server.url("postgres"), "CREATE TABLE t (n int)")
        left = server.url("shop")
    assert list(root.iterdir()) == []
    server.close()
    with pytest.raises(DatabaseError):
        sql.rows(left, "SELECT 1")


def test_tables_as_an_application_sees_them(scratches: OpenScratches, any_order: ScratchOrder) -> None:
    with scratches.open(any_order) as server:
        server.create("shop")
        sql.act(
            server.url("shop"),
            "CREATE DOMAIN age AS int DEFAULT 1",
            "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, s bigserial, old age NOT NULL, note text,"
            " kind text NOT NULL, n int NOT NULL DEFAULT 0, twice int GENERATED ALWAYS AS (1 + 1) STORED NOT NULL)",
            "ALTER TABLE t DROP COLUMN note",
            "CREATE TABLE parts (id int NOT NULL) PARTITION BY RANGE (id)",
            "CREATE TABLE part PARTITION OF parts DEFAULT",
            "CREATE TABLE bare ()",
            "CREATE SCHEMA audit",
            "CREATE VIEW audit.seen AS SELECT kind FROM t",
        )
        assert server.tables("shop") == {
            "public.t": {"id": False, "s": False, "old": False, "kind": True, "n": False, "twice": False},
            "public.parts": {"id": True},
            "public.bare": {},
            "audit.seen": {"kind": False},
        }


OUTWARD = (
    "CREATE EXTENSION postgres_fdw",
    "CREATE EXTENSION dblink",
    "CREATE EXTENSION file_fdw",
    "CREATE TABLE bill (id int)",
    "CREATE SERVER billing FOREIGN DATA WRAPPER postgres_fdw"
    " OPTIONS (hostaddr '{host}', port '{port}', dbname '{database}')",
    "CREATE USER MAPPING FOR PUBLIC SERVER billing OPTIONS (user '{user}', password '{password}')",
    "CREATE USER MAPPING FOR CURRENT_USER SERVER billing OPTIONS (user '{user}', password '{password}')",
    "CREATE FOREIGN TABLE theirs (id int) SERVER billing OPTIONS (table_name 'bill')",
    "CREATE SERVER files FOREIGN DATA WRAPPER file_fdw",
    "CREATE FOREIGN TABLE told (line text) SERVER files OPTIONS (program 'echo ran')",
    "CREATE SUBSCRIPTION {database}_fed CONNECTION 'host={host} port={port} dbname={database}' PUBLICATION p"
    " WITH (connect = false)",
)
"""Ways out of a database; its foreign server leads back to itself, as where it leads does not matter."""


def test_what_leads_out_of_a_copy_is_cut_off(scratches: OpenScratches, any_order: ScratchOrder) -> None:
    with scratches.open(any_order) as server:
        server.create("shop")
        url = server.url("shop")
        inside = urlsplit(url.reveal())
        [(host, port, name)] = sql.rows(
            url, "SELECT host(inet_server_addr()), inet_server_port(), current_database()"
        )
        words = {"host": host, "port": port, "user": inside.username, "password": inside.password}
        sql.act(url, *(statement.format(database=name, **words) for statement in OUTWARD))
        sql.act(url, "INSERT INTO theirs VALUES (1)")
        assert sql.rows(url, "SELECT * FROM told") == [("ran",)]
        left = server.cut_off("shop")
        assert left[0] == "extension dblink"
        assert left[1:] == ("a role that is a superuser (COPY … TO PROGRAM, extensions)",)
        with pytest.raises(DatabaseError, match="user mapping not found"):
            sql.act(url, "INSERT INTO theirs VALUES (2)")
        sql.act(url, OUTWARD[5].format(**words))
        with pytest.raises(DatabaseError, match="could not connect"):
            sql.act(url, "INSERT INTO theirs VALUES (2)")
        assert sql.rows(url, "SELECT id FROM bill") == [(1,)]
        assert sql.rows(url, "SELECT * FROM told") == []
        assert server.keep("shop") == ""  # a database with a subscription cannot be dropped for its copy
        sql.act(url, f"DROP SUBSCRIPTION {name}_fed", "DROP EXTENSION dblink CASCADE")  # asks no publisher
        server.adopt_role("ann", "shop")
        assert server.ours == (server.cut_off("shop", "ann") == ())
        if server.ours:
            sql.act(url, "GRANT pg_execute_server_program TO ann", "ALTER SERVER billing OWNER TO ann")
            owns, member = "a role that owns foreign server billing", "a role that is a member of "
            assert server.cut_off("shop", "ann") == (f"{member}pg_execute_server_program", owns)
        sql.act(url, OUTWARD[-1].format(database=name, **words))  # closing it copes with that


def test_a_locale_that_it_lacks_is_named_with_its_cure(
    scratches: OpenScratches, any_order: ScratchOrder
) -> None:
    with scratches.open(any_order) as server:
        with pytest.raises(DatabaseError, match=r"xx_XX\.utf8") as told:
            server.create("shop", like={"encoding": "UTF8", "collation": "xx_XX.utf8"})
        if any_order.where == "auto":
            assert "locale-gen" in str(told.value.hint)
            assert f"container:postgres:{any_order.major}" in str(told.value.hint)
        elif server.ours:
            assert "an image that has the locale xx_XX.utf8" in str(told.value.hint)


def test_another_major_version_is_refused_and_nothing_left(
    scratches: OpenScratches, any_order: ScratchOrder, root: Path
) -> None:
    with pytest.raises(DatabaseError, match=r"PostgreSQL 9\b|9 is needed") as told:
        scratches.open(replace(any_order, major=9))
    assert told.value.hint
    assert list(root.iterdir()) == []


OWNER = """
import sys, time
from pathlib import Path
from backstay.adapters.docker import DockerEngine
from backstay.adapters.scratch import OpenScratches
from backstay.domain.secret import Secret
from backstay.ports.scratch import ScratchOrder
root, where, name, major, host, given = sys.argv[1:]
order = ScratchOrder("shop", "dev", name, int(major), where)
server = OpenScratches(Path(root), DockerEngine(host), {"SCRATCH": Secret(given)}.get).open(order)
server.create("shop")
print(server.url("shop").reveal(), flush=True)
time.sleep(60)
"""


def test_what_a_killed_owner_left_is_swept_and_nothing_of_the_living(
    scratches: OpenScratches, any_order: ScratchOrder, root: Path, world: World
) -> None:
    given = world.postgres
    url = f"postgresql://{given.superuser}:{given.password}@{given.host}:{given.port}/postgres"
    words = [str(root), any_order.where, any_order.name, str(any_order.major), world.docker_host, url]
    with subprocess.Popen([sys.executable, "-c", OWNER, *words], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        theirs = Secret(owner.stdout.readline().strip())
        assert scratches.sweep("shop", "dev") == []  # its owner lives
        owner.send_signal(signal.SIGKILL)
    with scratches.open(replace(any_order, name=f"{any_order.name}-mine")) as mine:
        mine.create("shop")
        assert scratches.sweep("shop", "uat") == []  # another environment's are not ours to judge
        assert sql.rows(theirs, "SELECT 1") == [(1,)]
        assert scratches.sweep("shop", "dev") == [f"scratch server {any_order.name}, whose owner died"]
        with pytest.raises(DatabaseError):
            sql.rows(theirs, "SELECT 1")
        assert sql.rows(mine.url("shop"), "SELECT 1") == [(1,)]


def test_a_physical_backup_starts_with_a_password_of_its_own(
    scratches: OpenScratches, any_order: ScratchOrder, copied: Callable[[Path], str]
) -> None:
    data = scratches.folder(any_order)
    order = replace(any_order, data=data)
    if any_order.where.startswith("url:"):
        data.mkdir()
        with pytest.raises(DatabaseError, match="a server of its own"):
            scratches.open(order)
    else:
        name = copied(data)
        with scratches.open(order) as server:
            assert sql.rows(server.url(name), "SELECT count(*) FROM t") == [(10,)]
            server.adopt_role(name, name)
            assert sql.rows(server.url(name, name), "SELECT current_user") == [(name,)]
    assert not data.exists()


def test_a_name_is_given_once(
    scratches: OpenScratches, opener: Callable[[], OpenScratches], order: ScratchOrder
) -> None:
    scratches.folder(order)
    with pytest.raises(DatabaseError, match="already"):
        opener().folder(order)
    scratches.give_up(order)
    scratches.give_up(order)
