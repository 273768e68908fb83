"""A dump restored elsewhere holds the same, to the last row and object; anything that would be less is refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyrage
import pytest

from backstay.adapters.postgres import PostgresTools
from backstay.adapters.postgres.manifest import manifest_path
from backstay.adapters.postgres.restore import most_jobs
from backstay.domain.backup import BackupLimits, BackupProgress
from backstay.domain.content import differences
from backstay.domain.restore import renamed
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError
from backstay.ports.database import DumpOrder, NotEmpty, RestoreOrder
from tests.postgres.server import PASSWORD, Server
from tests.world import World
from tests.world.postgres import DatabaseUrls

pytestmark = pytest.mark.world
TOOLS = PostgresTools()
IDENTITY = pyrage.x25519.Identity.generate()

RICH = """
CREATE EXTENSION pg_trgm;
CREATE SCHEMA books;
CREATE TYPE books.state AS ENUM ('new', 'sold');
CREATE DOMAIN books.price AS numeric CHECK (VALUE >= 0);
CREATE TABLE books.book (id bigserial PRIMARY KEY, "t" text COLLATE "C", price books.price,
  at timestamptz DEFAULT now(), state books.state NOT NULL DEFAULT 'new',
  kind varchar CHECK (kind IN ('a', 'b')), body jsonb, raw bytea, f float8);
CREATE INDEX ON books.book USING gin (t gin_trgm_ops);
CREATE UNIQUE INDEX ON books.book (lower(t), id) WHERE kind IN ('a', 'b');
CREATE TABLE books.sale (book bigint REFERENCES books.book, at date, n int GENERATED ALWAYS AS IDENTITY)
  PARTITION BY RANGE (at);
CREATE TABLE books.sale_1 PARTITION OF books.sale FOR VALUES FROM ('2020-01-01') TO ('2030-01-01');
CREATE TABLE empty ();
CREATE VIEW books.cheap AS SELECT id FROM books.book WHERE kind IN ('a', 'b') AND price < 3;
CREATE MATERIALIZED VIEW books.sums AS SELECT kind, count(*) FROM books.book GROUP BY 1;
CREATE FUNCTION books.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER noted BEFORE INSERT ON books.book FOR EACH ROW EXECUTE FUNCTION books.note();
CREATE TRIGGER noted BEFORE INSERT ON books.sale FOR EACH ROW EXECUTE FUNCTION books.note();
INSERT INTO books.book (t, price, kind, body, raw, f) SELECT 'T' || n, n % 9, 'a', '{"n": 1}', '\\x01ff', n / 3.0
  FROM generate_series(1, 500) n;
INSERT INTO books.sale SELECT 1 + n, '2024-02-01' FROM generate_series(1, 90) n;
ALTER TABLE books.book ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON books.book USING (kind IN ('a', 'b'));
CREATE PUBLICATION p FOR TABLE books.sale;
CREATE STATISTICS books.st ON id, price FROM books.book;
SELECT lo_from_bytea(0, '\\x0102'), lo_from_bytea(0, '\\x03');
CREATE SEQUENCE unused;
GRANT SELECT ON books.book TO PUBLIC;
"""


@pytest.fixture
def target(world: World, database: DatabaseUrls) -> Iterator[Secret]:
    """An empty database beside it, as the superuser reaches it."""
    name = f"{database['name']}copy"
    world.query(f'CREATE DATABASE "{name}" TEMPLATE template0 OWNER "{database["user"]}"')
    yield Secret(database["admin"].rpartition("/")[0] + f"/{name}")
    world.query(f'DROP DATABASE "{name}" WITH (FORCE)')


def name_of(url: Secret) -> str:
    return url.reveal().rpartition("/")[2]


def rows(world: World, url: Secret) -> str:
    """What the target holds: how many tables of ours."""
    return world.query("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", name_of(url)).strip()


def test_everything_a_database_can_hold_comes_back(
    world: World, database: DatabaseUrls, target: Secret, tmp_path: Path
) -> None:
    world.query(RICH, database["name"])
    made = TOOLS.dump(DumpOrder(Secret(database["admin"]), tmp_path, "x"))
    taken = TOOLS.content_of(made.path)
    assert taken is not None and taken == made.content and made.notes == ()
    assert taken.tables["books.book"].rows == 500 and taken.tables["(large objects)"].rows == 2
    TOOLS.restore(RestoreOrder(made.path, target, sha256=made.sha256, analyze=True, jobs=2))
    assert differences(taken, TOOLS.content(target, 30)) == ()
    world.query("UPDATE books.book SET price = 8 WHERE id = 7; DROP INDEX books.book_t_idx", name_of(target))
    told = differences(taken, TOOLS.content(target, 30))
    assert len(told) == 2 and "books.book has other rows" in told[0] and "books.book_t_idx" in told[1]
    with pytest.raises(NotEmpty, match="it holds books"):
        TOOLS.restore(RestoreOrder(made.path, target))


def test_on_another_server_the_roles_come_first(world: World, server: Server, tmp_path: Path) -> None:
    """What belongs to whom, and who may do what, is part of a database; the roles are not."""
    server.query(
        "CREATE ROLE owner; CREATE ROLE reader; GRANT reader TO owner; CREATE SCHEMA shop AUTHORIZATION owner;"
        " CREATE TABLE shop.orders (id int); ALTER TABLE shop.orders OWNER TO owner;"
        " GRANT SELECT ON shop.orders TO reader"
    )
    made = TOOLS.dump(DumpOrder(Secret(server.url), tmp_path, "x"))
    assert made.content is not None
    with Server(world.postgres, connections=10) as other:
        for each, roles in (("without", False), ("with", True)):
            other.query(f'CREATE DATABASE "{each}" TEMPLATE template0')
            url = Secret(other.url_of(each))
            if not roles:
                with pytest.raises(DatabaseError, match='role "owner" does not exist'):
                    TOOLS.restore(RestoreOrder(made.path, url))
                continue
            TOOLS.restore(RestoreOrder(made.path, url, roles=roles))
            assert differences(made.content, TOOLS.content(url, 30)) == ()
        other.query('CREATE DATABASE "owned" TEMPLATE template0')
        url = Secret(other.url_of("owned"))
        TOOLS.restore(RestoreOrder(made.path, url, owners=False))
        found = TOOLS.content(url, 30)
        assert differences(made.content, found, ignore=("owners", "privileges")) == ()
        assert "shop.orders owner" in " ".join(differences(made.content, found))
        assert other.query("SELECT pg_has_role('owner', 'reader', 'MEMBER')") == "t"


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("is_encrypted", [False, True])
def test_in_one_stream_and_by_several_in_clear_and_encrypted(
    database: DatabaseUrls, target: Secret, tmp_path: Path, jobs: int, is_encrypted: bool
) -> None:
    keys = (str(IDENTITY.to_public()),) if is_encrypted else ()
    made = TOOLS.dump(DumpOrder(Secret(database["admin"]), tmp_path, "x", recipients=keys))
    assert made.content is not None and made.encrypted == is_encrypted
    assert made.path.name == ("x.dump.zst.age" if is_encrypted else "x.dump.zst")
    TOOLS.restore(RestoreOrder(made.path, target, jobs=jobs, identity=Secret(f"# a key\n{IDENTITY}\n")))
    assert differences(made.content, TOOLS.content(target, 30)) == ()
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.suffix == ".partial") == []


def test_the_settings_of_a_database_are_encrypted_with_it(
    world: World, database: DatabaseUrls, target: Secret, tmp_path: Path
) -> None:
    """A setting may hold a secret; the manifest is in clear. What the server refuses is told without it."""
    name, identity = database["name"], Secret(str(IDENTITY))
    world.query(f"ALTER DATABASE \"{name}\" SET app.key TO 'hunter2, too'", name)
    made = TOOLS.dump(
        DumpOrder(Secret(database["admin"]), tmp_path, "x", recipients=(str(IDENTITY.to_public()),))
    )
    assert "hunter2" not in manifest_path(made.path).read_text()
    order = RestoreOrder(made.path, target, properties=True, identity=identity)
    with pytest.raises(DatabaseError, match="there is no identity to decrypt it with"):
        TOOLS.restore(replace(order, identity=None))
    assert rows(world, target) == "0"
    assert TOOLS.restore(order) == ()
    assert world.query("SHOW app.key", name_of(target)).strip() == "hunter2, too"


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        (None, "there is no identity to decrypt it with"),
        (Secret("nonsense"), "the age identity is none"),
        (Secret(str(pyrage.x25519.Identity.generate())), r"cannot be decrypted: No matching keys found"),
    ],
)
@pytest.mark.parametrize("jobs", [1, 2])
def test_without_the_right_identity_nothing_is_restored(
    world: World,
    database: DatabaseUrls,
    target: Secret,
    tmp_path: Path,
    jobs: int,
    identity: Secret | None,
    message: str,
) -> None:
    keys = (str(IDENTITY.to_public()),)
    made = TOOLS.dump(DumpOrder(Secret(database["admin"]), tmp_path, "x", recipients=keys))
    with pytest.raises(DatabaseError, match=message):
        TOOLS.restore(RestoreOrder(made.path, target, jobs=jobs, identity=identity))
    assert rows(world, target) == "0"


def test_where_nothing_fits_beside_it_it_is_restored_in_one_stream(
    database: DatabaseUrls, target: Secret, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = TOOLS.dump(DumpOrder(Secret(database["admin"]), tmp_path, "x"))
    usage = shutil.disk_usage(tmp_path)._replace(free=1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    TOOLS.restore(RestoreOrder(made.path, target, jobs=4))
    assert made.content is not None and differences(made.content, TOOLS.content(target, 30)) == ()


def test_a_name_that_looks_like_a_connection_string(server: Server, tmp_path: Path) -> None:
    name = "port=1 d'ü"
    server.query(f'DROP DATABASE IF EXISTS "{name}"; CREATE DATABASE "{name}" TEMPLATE template0;')
    url = renamed(Secret(server.url), name)
    made = TOOLS.dump(DumpOrder(url, tmp_path, "x"))
    assert made.facts and made.facts.database == name and made.notes == ()
    TOOLS.restore(RestoreOrder(made.path, url))
    assert made.content is not None and differences(made.content, TOOLS.content(url, 30)) == ()
    server.query(f'DROP DATABASE "{name}"')


@pytest.mark.parametrize(
    ("places", "jobs"),
    [([], 8), ([(-1, 50)], 8), ([(100, 2)], 8), ([(-1, 9), (6, 2)], 3), ([(7, 3), (4, 2)], 1), ([(2, 9)], 1)],
)
def test_no_more_connections_restore_than_there_may_be(places: list[tuple[int, int]], jobs: int) -> None:
    assert most_jobs(8, places) == jobs


def test_a_statement_that_takes_long_is_progress(
    world: World, database: DatabaseUrls, target: Secret, tmp_path: Path
) -> None:
    world.query(
        "CREATE FUNCTION late() RETURNS int LANGUAGE plpgsql AS 'BEGIN IF current_database() ="
        f" ''{name_of(target)}'' THEN PERFORM pg_sleep(6); END IF; RETURN 1; END';"
        "CREATE MATERIALIZED VIEW sums AS SELECT public.late()",
        database["name"],
    )
    made = TOOLS.dump(DumpOrder(Secret(database["admin"]), tmp_path, "x"))
    TOOLS.restore(RestoreOrder(made.path, target, limits=BackupLimits(stall_s=3.5)))
    assert world.query("SELECT late FROM sums", name_of(target)).strip() == "1"


class TestGivenUp:
    """A restore that does not come to its end says so, and none of its processes goes on."""

    def test_on_request(self, database: DatabaseUrls, target: Secret, tmp_path: Path) -> None:
        made = TOOLS.dump(DumpOrder(Secret(database["admin"]), tmp_path, "x"))
        with pytest.raises(DatabaseError, match="the restore was stopped on request"):
            TOOLS.restore(RestoreOrder(made.path, target, stopped=lambda: True))

    def test_at_its_deadline(self, database: DatabaseUrls, target: Secret, tmp_path: Path) -> None:
        made = TOOLS.dump(DumpOrder(Secret(database["admin"]), tmp_path, "x"))
        with pytest.raises(DatabaseError, match=r"the restore was not done after 0\.001 s"):
            TOOLS.restore(RestoreOrder(made.path, target, limits=BackupLimits(deadline_s=0.001)))

    def test_when_the_target_hangs(
        self, world: World, server: Server, database: DatabaseUrls, tmp_path: Path
    ) -> None:
        world.query(
            "CREATE FUNCTION late(n int) RETURNS bool LANGUAGE plpgsql AS"
            " 'BEGIN IF current_database() = ''hung'' THEN PERFORM pg_sleep(60); END IF; RETURN true; END';"
            "CREATE TABLE checked (n int CHECK (public.late(n))); INSERT INTO checked VALUES (1);",
            database["name"],
        )
        made = TOOLS.dump(DumpOrder(Secret(database["admin"]), tmp_path, "x"))
        server.query("DROP DATABASE IF EXISTS hung")
        server.query("CREATE DATABASE hung TEMPLATE template0")
        url = Secret(server.url_of("hung"))

        def freeze(progress: BackupProgress) -> None:
            server.freeze()

        try:
            with pytest.raises(DatabaseError, match=r"made no progress for 1 s|failed") as told:
                order = RestoreOrder(
                    made.path, url, limits=BackupLimits(stall_s=1.0), tell=freeze, owners=False
                )
                TOOLS.restore(order)
            assert PASSWORD not in str(told.value)
        finally:
            server.thaw()
