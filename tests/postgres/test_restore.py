"""A dump restored elsewhere holds the same, to the last row and object; anything that would be less is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from backstay.adapters.postgres import PostgresTools
from backstay.domain.content import differences
from backstay.domain.secret import Secret
from backstay.ports.database import DumpOrder, NotEmpty, RestoreOrder
from tests.world import World
from tests.world.postgres import DatabaseUrls

pytestmark = pytest.mark.world
TOOLS = PostgresTools()

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


def test_everything_a_database_can_hold_comes_back(
    world: World, database: DatabaseUrls, tmp_path: Path
) -> None:
    world.query(RICH, database["name"])
    made = TOOLS.dump(DumpOrder(Secret(database["admin"]), tmp_path, "x"))
    taken = TOOLS.content_of(made.path)
    assert taken is not None and taken == made.content and made.notes == ()
    assert taken.tables["books.book"].rows == 500 and taken.tables["(large objects)"].rows == 2
    copy = f"{database['name']}copy"
    world.query(f'CREATE DATABASE "{copy}" TEMPLATE template0 OWNER "{database["user"]}"')
    try:
        url = Secret(database["admin"].rpartition("/")[0] + f"/{copy}")
        TOOLS.restore(RestoreOrder(made.path, url, sha256=made.sha256, analyze=True))
        found = TOOLS.content(url, 30)
        assert differences(taken, found) == ()
        world.query("UPDATE books.book SET price = 8 WHERE id = 7; DROP INDEX books.book_t_idx", copy)
        told = differences(taken, TOOLS.content(url, 30))
        assert len(told) == 2 and "books.book has other rows" in told[0] and "books.book_t_idx" in told[1]
        with pytest.raises(NotEmpty, match="it holds"):
            TOOLS.restore(RestoreOrder(made.path, url))
    finally:
        world.query(f'DROP DATABASE "{copy}" WITH (FORCE)')
