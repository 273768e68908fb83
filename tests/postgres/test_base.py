"""Physical backups: a server that is copied, unpacked and started holds the same; damage is found before it starts."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from backstay.adapters.postgres import PostgresTools
from backstay.domain.backup import BackupKind
from backstay.domain.content import differences
from backstay.domain.secret import Secret
from backstay.ports.database import DumpOrder
from tests.postgres.server import Server
from tests.world import World

pytestmark = pytest.mark.world
TOOLS = PostgresTools()
ROWS = """
CREATE TABLE orders AS SELECT n AS id, md5(n::text) AS token FROM generate_series(1, 20000) n;
CREATE UNLOGGED TABLE cache AS SELECT 1 AS n;
CREATE INDEX ON orders (token);
CREATE SEQUENCE numbers; SELECT nextval('numbers');
"""


@pytest.fixture(scope="module")
def source(world: World) -> Iterator[Server]:
    with Server(world.postgres, connections=12, senders=4) as made:
        made.query(ROWS)
        yield made


def order(source: Server, folder: Path, kind: BackupKind | None = BackupKind.PHYSICAL) -> DumpOrder:
    return DumpOrder(Secret(source.url), folder, "x", kind=kind)


def test_a_copy_that_is_started_holds_the_same(world: World, source: Server, tmp_path: Path) -> None:
    made = TOOLS.dump(order(source, tmp_path / "b"))
    assert made.kind is BackupKind.PHYSICAL and made.notes == () and made.path.name == "x.base"
    assert TOOLS.size_of(made.path) == made.bytes
    assert sorted(path.name for path in made.path.iterdir()) == [
        "backup_manifest",
        "base.tar.zst",
        "pg_wal.tar.zst",
    ]
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [
        "x.base",
        "x.globals.sql",
        "x.manifest.json",
    ]
    modes = {
        stat.S_IMODE(path.stat().st_mode) for path in [*made.path.iterdir(), tmp_path / "b/x.manifest.json"]
    }
    assert modes == {0o600} and stat.S_IMODE(made.path.stat().st_mode) == 0o700
    manifest = json.loads((tmp_path / "b" / "x.manifest.json").read_text())
    assert manifest["wal"]["timeline"] == 1 and manifest["wal"]["start"] < manifest["wal"]["end"]
    TOOLS.examine(made.path, made.sha256)
    TOOLS.unpack(made.path, tmp_path / "data", sha256=made.sha256)
    with Server(world.postgres, connections=12, copied=tmp_path / "data") as copy:
        assert made.content is not None and made.content.exact
        assert made.content.tables["public.orders"].rows == 20000
        assert differences(made.content, TOOLS.content(Secret(copy.url), 30)) == ()
        copy.query("DELETE FROM orders WHERE id = 5")
        assert differences(made.content, TOOLS.content(Secret(copy.url), 30)) == (
            "public.orders has 19999 rows instead of 20000",
        )
