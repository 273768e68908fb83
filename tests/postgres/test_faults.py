"""What goes wrong around a real server: each time the message says what, nothing is left, and no secret is told."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyrage
import pytest

from backstay.adapters.postgres import PostgresTools
from backstay.adapters.postgres import dump as dump_module
from backstay.adapters.postgres import tools as tools_module
from backstay.adapters.postgres.dump import _Backup as PostgresDump
from backstay.adapters.postgres.snapshot import Snapshot
from backstay.domain.backup import BackupLimits
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError
from backstay.ports.database import Dump, DumpOrder, NameTaken
from tests.postgres.conftest import holding, sessions
from tests.postgres.server import PASSWORD, Server
from tests.world import World
from tests.world.postgres import DatabaseUrls
from tests.world.processes import wait_until

pytestmark = pytest.mark.world


def dump(url: str, folder: Path, name: str = "x", **more: Any) -> Dump:
    return PostgresTools().dump(DumpOrder(Secret(url), folder, name, **more))


@contextmanager
def failing(folder: Path, message: str, hint: str = "", secret: str = PASSWORD) -> Iterator[None]:
    """The block must fail with this message and hint, leave no file, and not show the secret anywhere."""
    with pytest.raises(DatabaseError, match=message) as told:
        yield
    assert hint in (told.value.hint or "") and told.value.hint
    assert secret not in f"{told.value} {told.value.message} {told.value.hint} {told.getrepr(style='short')}"
    assert list(folder.rglob("*")) == []


class TestReachingTheServer:
    def test_it_is_down(self, server: Server, tmp_path: Path) -> None:
        url = server.url
        server.stop()
        try:
            with failing(tmp_path, "Connection refused", "listen_addresses"):
                dump(url, tmp_path)
        finally:
            server.start()
        assert dump(server.url, tmp_path).bytes > 0

    def test_a_wrong_password(self, database: DatabaseUrls, tmp_path: Path) -> None:
        wrong = database["host"].replace(database["password"], "wrongpassword")
        with failing(tmp_path, "password authentication failed", "secrets file", "wrongpassword"):
            dump(wrong, tmp_path)

    def test_a_database_that_is_not_there(self, database: DatabaseUrls, tmp_path: Path) -> None:
        missing = database["host"].removesuffix(database["name"]) + "nowhere"
        with failing(tmp_path, 'database "nowhere" does not exist', "database URL", database["password"]):
            dump(missing, tmp_path)

    def test_out_of_connections(self, server: Server, tmp_path: Path) -> None:
        with sessions(server.url, 6), failing(tmp_path, "too many clients already", "max_connections"):
            dump(server.url, tmp_path)
        assert wait_until(
            lambda: server.query("SELECT count(*) < 3 FROM pg_stat_activity WHERE usename <> ''") == "t", 20
        )
        assert dump(server.url, tmp_path).bytes > 0

    def test_a_role_that_may_not_read_everything(
        self, world: World, database: DatabaseUrls, tmp_path: Path
    ) -> None:
        world.query("CREATE TABLE hidden AS SELECT 1", database["name"])
        with failing(
            tmp_path, "permission denied for table hidden", "pg_read_all_data", database["password"]
        ):
            dump(database["host"], tmp_path)

    def test_a_server_that_hangs(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tools_module, "ANSWER_S", 1.0)
        server.freeze()
        try:
            with failing(tmp_path, r"psql had no answer for 1 s|timeout expired", ""):
                dump(server.url, tmp_path)
        finally:
            server.thaw()


class TestWhileItRuns:
    def test_a_locked_table_is_waited_for_only_so_long(self, blocked: DatabaseUrls, tmp_path: Path) -> None:
        began = time.monotonic()
        with failing(
            tmp_path, r"statement timeout \(LOCK TABLE public.products", "pg_locks", blocked["password"]
        ):
            dump(blocked["host"], tmp_path, limits=BackupLimits(lock_wait_s=0.5))
        assert time.monotonic() - began < 10

    def test_nothing_comes_for_too_long(self, blocked: DatabaseUrls, tmp_path: Path) -> None:
        with failing(tmp_path, r"no progress for 0\.6 s", "policy.backup_stall", blocked["password"]):
            dump(blocked["host"], tmp_path, limits=BackupLimits(stall_s=0.6, lock_wait_s=60))

    def test_its_tool_is_killed(self, blocked: DatabaseUrls, tmp_path: Path) -> None:
        def kill() -> None:
            assert wait_until(lambda: bool(_dumps_of(blocked["name"])), 10)
            os.kill(_dumps_of(blocked["name"])[0], signal.SIGKILL)

        with (
            _beside(kill),
            failing(tmp_path, "pg_dump failed: was killed by signal 9", "dmesg", blocked["password"]),
        ):
            dump(blocked["host"], tmp_path)

    def test_the_server_ends_its_session(self, world: World, blocked: DatabaseUrls, tmp_path: Path) -> None:
        waits = (
            f"FROM pg_stat_activity WHERE datname = '{blocked['name']}' AND query LIKE 'LOCK TABLE public%'"
        )

        def end() -> None:
            assert wait_until(lambda: world.query(f"SELECT count(*) {waits}").strip() == "1", 10)
            world.query(f"SELECT pg_terminate_backend(pid) {waits}")

        with (
            _beside(end),
            failing(tmp_path, "terminating connection|closed the connection", "log", blocked["password"]),
        ):
            dump(blocked["host"], tmp_path)

    def test_the_server_hangs_in_the_middle(self, server: Server, tmp_path: Path) -> None:
        server.query("DROP TABLE IF EXISTS held; CREATE TABLE held AS SELECT 1 AS n")
        with holding(server.url, "held"):
            try:
                with failing(tmp_path, r"pg_dump made no progress for 1 s", "policy.backup_stall"):
                    dump(server.url, tmp_path, limits=BackupLimits(stall_s=1), tell=lambda _: server.freeze())
            finally:
                server.thaw()


class TestFingerprintsThatTakeTooLong:
    """The dump itself is good, so it is kept; only nothing can be compared with it."""

    def test_at_the_deadline(
        self, database: DatabaseUrls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Snapshot, "is_taken", property(lambda self: False))
        made = dump(database["host"], tmp_path, limits=BackupLimits(deadline_s=6.0))
        [note] = made.notes
        assert note == "without fingerprints of the tables: the backup was not done after 6 s"
        assert made.content is None and PostgresTools().content_of(made.path) is None

    def test_when_the_server_hangs_meanwhile(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def never_after_a_freeze(snapshot: Snapshot) -> bool:
            server.freeze()
            return False

        monkeypatch.setattr(Snapshot, "is_taken", property(never_after_a_freeze))
        monkeypatch.setattr(dump_module, "PING_EVERY_S", 0.2)
        monkeypatch.setattr(dump_module, "ANSWER_S", 1.0)
        monkeypatch.setattr(PostgresDump, "_write_globals", lambda self, into: None)
        try:
            made = dump(server.url + "?connect_timeout=2", tmp_path)
        finally:
            server.thaw()
        assert made.content is None and "without fingerprints of the tables" in made.notes[0]

    def test_on_request_nothing_is_kept(
        self, database: DatabaseUrls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waiting: list[bool] = []

        def never(snapshot: Snapshot) -> bool:
            waiting.append(True)
            return False

        monkeypatch.setattr(Snapshot, "is_taken", property(never))
        with pytest.raises(DatabaseError, match="stopped on request"):
            dump(database["host"], tmp_path, stopped=lambda: bool(waiting))
        assert list(tmp_path.iterdir()) == []


class TestARoleThatSeesOnlySome:
    """Row security hides rows. A dump of what is left would look whole, so there is none."""

    @pytest.fixture
    def half_blind(self, world: World, database: DatabaseUrls) -> DatabaseUrls:
        world.query(
            "ALTER TABLE products ENABLE ROW LEVEL SECURITY; ALTER TABLE products FORCE ROW LEVEL SECURITY;"
            "CREATE POLICY few ON products USING (id < 5)",
            database["name"],
        )
        return database

    def test_no_dump(self, half_blind: DatabaseUrls, tmp_path: Path) -> None:
        with failing(tmp_path, "row-level security", "BYPASSRLS", half_blind["password"]):
            dump(half_blind["host"], tmp_path)

    def test_no_count_either(self, half_blind: DatabaseUrls) -> None:
        with pytest.raises(DatabaseError, match="row-level security"):
            PostgresTools().content(Secret(half_blind["host"]), 30)


class TestTheDisk:
    @pytest.fixture
    def large(self, world: World, database: DatabaseUrls) -> DatabaseUrls:
        """Several MB that do not compress."""
        world.query(
            "CREATE TABLE noise AS SELECT md5(random()::text) || md5(random()::text) t FROM generate_series(1, 120000);"
            f'ALTER TABLE noise OWNER TO "{database["user"]}"',
            database["name"],
        )
        return database

    @pytest.mark.parametrize("size", ["4k", "1m", "3m"])
    def test_it_is_full_and_an_older_backup_stays_whole(
        self, large: DatabaseUrls, small_disk: Callable[[str], Path], size: str
    ) -> None:
        folder = small_disk(f"size={size},mode=0700")
        with failing(folder, "No space left on device", "free space", large["password"]):
            dump(large["host"], folder)

    def test_it_is_full_while_it_is_encrypted(
        self, large: DatabaseUrls, small_disk: Callable[[str], Path]
    ) -> None:
        folder = small_disk("size=3m,mode=0700")
        keys = (str(pyrage.x25519.Identity.generate().to_public()),)
        with failing(folder, "No space left on device", "free space", large["password"]):
            dump(large["host"], folder, recipients=keys)

    def test_none_is_begun_that_would_hardly_fit(
        self, database: DatabaseUrls, small_disk: Callable[[str], Path]
    ) -> None:
        folder = small_disk("size=3m,mode=0700")
        with failing(
            folder, r"only 3\.\d+ MB are free .* 4\.50 MB are wanted", "free space", database["password"]
        ):
            dump(database["host"], folder, expected_bytes=3_000_000)

    def test_it_fills_up_with_the_second_backup(
        self, large: DatabaseUrls, small_disk: Callable[[str], Path]
    ) -> None:
        folder = small_disk("size=7m,mode=0700")
        first = dump(large["host"], folder, "first")
        before = {path: path.read_bytes() for path in folder.iterdir()}
        with pytest.raises(DatabaseError, match="No space left on device"):
            dump(large["host"], folder, "second")
        assert {path: path.read_bytes() for path in folder.iterdir()} == before
        assert first.path in before

    def test_it_may_not_be_written(self, database: DatabaseUrls, small_disk: Callable[[str], Path]) -> None:
        folder = small_disk("ro,mode=0700")
        with failing(folder, "Read-only file system", "mode", database["password"]):
            dump(database["host"], folder / "dev")

    def test_a_file_is_in_the_place_of_the_folder(self, database: DatabaseUrls, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(DatabaseError, match=r"cannot write .*file.*: Not a directory") as told:
            dump(database["host"], tmp_path / "file" / "dev")
        assert told.value.hint


def test_two_at_the_same_moment_under_the_same_name_make_one(database: DatabaseUrls, tmp_path: Path) -> None:
    start = threading.Barrier(2)

    def race(_: int) -> str:
        start.wait()
        try:
            return dump(database["host"], tmp_path).sha256
        except NameTaken:
            return "taken"

    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(race, range(2)))
    assert ends.count("taken") == 1 and len(list(tmp_path.iterdir())) == 3


def _dumps_of(name: str) -> list[int]:
    """The pg_dump processes that read the database of this name."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"PGDATABASE={name}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found += [int(entry.name)] if b"pg_dump\0" in (entry / "cmdline").read_bytes() else []
        except OSError:
            continue
    return found


@contextmanager
def _beside(act: Callable[[], None]) -> Iterator[None]:
    """Do something in another thread meanwhile; its failure is the test's."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(act)
        yield
        done.result()
