"""Physical backups: a server that is copied, unpacked and started holds the same; damage is found before it starts."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyrage
import pytest

from backstay.adapters.postgres import PostgresTools
from backstay.adapters.postgres.dump import on_same_disk
from backstay.domain.backup import BackupKind, BackupLimits, BackupProgress
from backstay.domain.content import differences
from backstay.domain.secret import Secret
from backstay.domain.server import ServerFacts
from backstay.errors import DatabaseError
from backstay.ports.database import DumpOrder, PagesDamaged
from tests.postgres.server import PASSWORD, Server
from tests.world import World
from tests.world.processes import wait_until

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


def test_encrypted_it_needs_the_identity_and_lies_nowhere_in_clear(source: Server, tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    keys = (str(identity.to_public()),)
    made = TOOLS.dump(replace(order(source, tmp_path / "b"), recipients=keys))
    assert made.encrypted and all(path.suffix == ".age" for path in made.path.iterdir())
    with pytest.raises(DatabaseError, match="there is no identity"):
        TOOLS.unpack(made.path, tmp_path / "data")
    assert not (tmp_path / "data").exists()
    TOOLS.unpack(made.path, tmp_path / "data", Secret(str(identity)))
    assert (tmp_path / "data" / "PG_VERSION").read_text() == "15\n"


def test_what_others_write_meanwhile_is_said(source: Server, tmp_path: Path) -> None:
    """Then rows prove nothing, and only names are compared."""

    def write(progress: BackupProgress) -> None:
        source.query("INSERT INTO orders VALUES (0, 'new')")

    made = TOOLS.dump(replace(order(source, tmp_path), tell=write))
    assert made.content is not None and not made.content.exact
    now = TOOLS.content(Secret(source.url), 30)
    assert differences(made.content, now) == ()
    missing = replace(now, tables={})
    assert "the table public.orders" in " ".join(differences(made.content, missing))


class TestChoosing:
    @pytest.fixture
    def role(self, source: Server) -> Iterator[Callable[[str], DumpOrder]]:
        """An order as a role with these attributes."""

        def make(attributes: str, folder: Path = Path()) -> DumpOrder:
            source.query(
                f"CREATE ROLE clerk LOGIN PASSWORD 'clerks' {attributes}; GRANT pg_read_all_data TO clerk"
            )
            url = source.url.replace(f"keeper:{PASSWORD}", "clerk:clerks")
            return DumpOrder(Secret(url), folder, "x", kind=None)

        yield make
        source.query("DROP ROLE clerk")

    def test_who_may_only_read_gets_a_logical_one(
        self, role: Callable[..., DumpOrder], source: Server, tmp_path: Path
    ) -> None:
        asked = role("", tmp_path)
        assert TOOLS.dump(asked).kind is BackupKind.LOGICAL
        assert "REPLICATION" in TOOLS.manifest(tmp_path / "x.dump.zst")["why_logical"]
        with pytest.raises(
            DatabaseError, match="a physical backup cannot be made: the role has no REPLICATION"
        ) as told:
            TOOLS.dump(replace(asked, kind=BackupKind.PHYSICAL, name="y"))
        assert "database.backup" in (told.value.hint or "")

    def test_who_may_replicate_gets_a_physical_one_of_a_server_that_is_mostly_his(
        self, role: Callable[..., DumpOrder], source: Server, tmp_path: Path
    ) -> None:
        asked = role("REPLICATION", tmp_path)
        assert "other databases" in str(TOOLS.manifest(TOOLS.dump(asked).path)["why_logical"])
        source.query(
            "CREATE TABLE bulk AS SELECT repeat(md5(n::text), 30) t FROM generate_series(1, 40000) n"
        )
        assert TOOLS.dump(replace(asked, name="y")).kind is BackupKind.PHYSICAL

    def test_whom_pg_hba_does_not_let_in_gets_a_logical_one(
        self, role: Callable[..., DumpOrder], source: Server, tmp_path: Path
    ) -> None:
        access = source.data / "pg_hba.conf"
        whole = access.read_text()
        asked = role("REPLICATION", tmp_path)
        access.write_text(whole.replace("replication", "nobody"))
        source.query("SELECT pg_reload_conf()")
        try:
            made = TOOLS.dump(asked)
        finally:
            access.write_text(whole)
            source.query("SELECT pg_reload_conf()")
        assert "pg_hba.conf" in TOOLS.manifest(made.path)["why_logical"]


class TestFailing:
    def test_a_damaged_page_fails_the_backup_and_says_what_it_is(
        self, source: Server, tmp_path: Path
    ) -> None:
        source.query("CREATE TABLE sick AS SELECT n FROM generate_series(1, 3000) n; CHECKPOINT")
        heap = source.data / source.query("SELECT pg_relation_filepath('sick')")
        source.stop()
        whole = heap.read_bytes()
        heap.write_bytes(whole[:9000] + b"\0\0" + whole[9002:])
        source.start()
        try:
            with pytest.raises(PagesDamaged, match="pages with wrong checksums") as told:
                TOOLS.dump(order(source, tmp_path))
            assert "older backups are kept" in (told.value.hint or "")
            assert list(tmp_path.iterdir()) == []
        finally:
            source.stop()
            heap.write_bytes(whole)
            source.start()
            source.query("DROP TABLE sick")

    def test_a_full_disk_leaves_nothing(
        self, source: Server, small_disk: Callable[[str], Path], tmp_path: Path
    ) -> None:
        folder = small_disk("size=2m,mode=0700")
        with pytest.raises(DatabaseError, match="No space left") as told:
            TOOLS.dump(order(source, folder))
        assert list(folder.iterdir()) == [] and told.value.hint

    def test_stopped_on_request_neither_it_nor_its_helper_goes_on(
        self, source: Server, tmp_path: Path
    ) -> None:
        with pytest.raises(DatabaseError, match="the backup was stopped on request"):
            TOOLS.dump(replace(order(source, tmp_path), stopped=lambda: True))
        assert list(tmp_path.iterdir()) == []
        assert wait_until(lambda: source.query("SELECT count(*) FROM pg_stat_replication") == "0", 10)

    def test_a_server_that_hangs_is_given_up(self, source: Server, tmp_path: Path) -> None:
        def freeze(progress: BackupProgress) -> None:
            source.freeze()

        asked = replace(order(source, tmp_path), tell=freeze, limits=BackupLimits(stall_s=1.5))
        try:
            with pytest.raises(DatabaseError, match=r"pg_basebackup made no progress for 1\.5 s"):
                TOOLS.dump(asked)
        finally:
            source.thaw()
        assert list(tmp_path.iterdir()) == []

    def test_into_a_folder_that_holds_something_nothing_is_unpacked(
        self, source: Server, tmp_path: Path
    ) -> None:
        made = TOOLS.dump(order(source, tmp_path / "b"))
        (tmp_path / "live").mkdir()
        (tmp_path / "live" / "PG_VERSION").write_text("15\n")
        with pytest.raises(DatabaseError, match="is not empty"):
            TOOLS.unpack(made.path, tmp_path / "live")
        assert (tmp_path / "live" / "PG_VERSION").read_text() == "15\n"


class TestWhichDisk:
    def test_the_servers_own(self, source: Server, tmp_path: Path) -> None:
        made = TOOLS.dump(DumpOrder(Secret(source.url), source.folder / "backups", "x"))
        assert made.same_disk is True

    def test_another_one(self, source: Server, small_disk: Callable[[str], Path]) -> None:
        folder = small_disk("size=20m,mode=0700")
        assert TOOLS.dump(DumpOrder(Secret(source.url), folder, "x")).same_disk is False

    def test_nobody_can_tell_for_who_may_not_ask_where_the_files_are(
        self, world: World, tmp_path: Path
    ) -> None:
        facts = ServerFacts("15", 15, "1", "d", 1, "UTF8", "C", {}, ())
        assert on_same_disk(tmp_path, facts, {}) is None
        elsewhere = replace(facts, data_directory="/nowhere")
        assert on_same_disk(tmp_path, elsewhere, {"PGHOST": "127.0.0.1"}) is None
        # An address of nobody's (RFC 5737): another machine, so another disk.
        assert on_same_disk(tmp_path, elsewhere, {"PGHOST": "192.0.2.1"}) is False
