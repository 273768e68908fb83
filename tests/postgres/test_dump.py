"""Dumps of a real database: complete ones restore, all others leave nothing behind."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backstay.adapters.postgres import PostgresTools
from backstay.adapters.postgres.connection import environment
from backstay.adapters.postgres.dump import find_tool
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError, StoreError
from tests.world import World
from tests.world.postgres import DatabaseUrls

pytestmark = pytest.mark.world
ROWS = 2000


def never() -> bool:
    return False


@pytest.fixture
def database(world: World) -> Iterator[DatabaseUrls]:
    """A database with a table of ours."""
    made = world.create_database(f"dump{os.getpid()}")
    world.query(
        "CREATE TABLE products (id int PRIMARY KEY, name text);"
        f"INSERT INTO products SELECT n, 'Tür ' || n FROM generate_series(1, {ROWS}) n;"
        f'ALTER TABLE products OWNER TO "{made["user"]}";',
        made["name"],
    )
    yield made
    world.drop_database(made["name"])


@pytest.fixture
def blocked(world: World, database: DatabaseUrls) -> Iterator[DatabaseUrls]:
    """The same, with a table that somebody holds locked: a dump of it waits."""
    with (
        environment(Secret(database["admin"])) as env,
        subprocess.Popen(
            [find_tool("psql"), "-qAt"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as session,
    ):
        assert session.stdin is not None and session.stdout is not None
        session.stdin.write("BEGIN; LOCK TABLE products IN ACCESS EXCLUSIVE MODE; SELECT 'locked';\n")
        session.stdin.flush()
        assert session.stdout.readline() == "locked\n"
        yield database
        session.kill()


def dumps_under_way(world: World, name: str) -> int:
    return int(
        world.query(
            f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND query LIKE 'LOCK TABLE public%'"
        )
    )


def until_one_waits(world: World, name: str, then: Callable[[], bool]) -> Callable[[], bool]:
    """What to answer to "should I stop?": no until a dump waits for the lock, then what `then` says."""

    def asked() -> bool:
        return dumps_under_way(world, name) > 0 and then()

    return asked


def test_a_dump_is_whole_private_and_can_be_restored_elsewhere(
    world: World, database: DatabaseUrls, tmp_path: Path
) -> None:
    into = tmp_path / "backups" / "shop.dump"
    dump = PostgresTools().dump(Secret(database["host"]), into, never)
    data = into.read_bytes()
    assert (dump.path, dump.bytes, dump.sha256) == (into, len(data), hashlib.sha256(data).hexdigest())
    assert stat.S_IMODE(into.stat().st_mode) == 0o600
    assert list(into.parent.iterdir()) == [into]

    other = world.create_database(f"restored{os.getpid()}")
    try:
        with environment(Secret(other["host"])) as env:
            subprocess.run(
                [find_tool("pg_restore"), "--no-owner", "--exit-on-error", f"--dbname={other['name']}", into],
                env=env, check=True, capture_output=True, timeout=60,
            )  # fmt: skip
        ask = "SELECT count(*), md5(string_agg(id || name, ',' ORDER BY id)) FROM products"
        assert world.query(ask, other["name"]) == world.query(ask, database["name"])
        assert world.query(ask, other["name"]).startswith(f"{ROWS}|")
    finally:
        world.drop_database(other["name"])


def test_the_password_is_in_no_argument_and_no_environment_while_it_runs(
    world: World, blocked: DatabaseUrls, tmp_path: Path
) -> None:
    seen: list[bytes] = []

    def look() -> bool:
        for entry in Path("/proc").glob("[0-9]*"):
            words = _read(entry / "cmdline")
            if b"pg_dump" in words and os.fsencode(tmp_path) in words:
                seen.append(words + b"\0" + _read(entry / "environ"))
        return True

    with pytest.raises(DatabaseError):
        PostgresTools().dump(
            Secret(blocked["host"]), tmp_path / "x.dump", until_one_waits(world, blocked["name"], look)
        )
    assert seen and all(b"PGPASSFILE=" in process for process in seen)
    assert not any(blocked["password"].encode() in process for process in seen)


def test_a_wrong_password(database: DatabaseUrls, tmp_path: Path) -> None:
    wrong = database["host"].replace(database["password"], "wrongpassword")
    with pytest.raises(DatabaseError, match="password authentication failed") as refused:
        PostgresTools().dump(Secret(wrong), tmp_path / "x.dump", never)
    assert refused.value.hint
    assert "wrongpassword" not in f"{refused.value} {refused.value.hint}"
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_is_not_there(database: DatabaseUrls, tmp_path: Path) -> None:
    missing = database["host"].removesuffix(database["name"]) + "nowhere"
    with pytest.raises(DatabaseError, match='database "nowhere" does not exist'):
        PostgresTools().dump(Secret(missing), tmp_path / "x.dump", never)
    assert list(tmp_path.iterdir()) == []


def test_a_port_where_nothing_listens(database: DatabaseUrls, world: World, tmp_path: Path) -> None:
    down = database["host"].replace(f":{world.postgres.port}/", ":1/")
    assert down != database["host"]
    with pytest.raises(DatabaseError, match=r"Connection refused|failed") as refused:
        PostgresTools().dump(Secret(down), tmp_path / "x.dump", never)
    assert database["password"] not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_stopped_on_request_it_ends_at_once_and_leaves_no_file(
    world: World, blocked: DatabaseUrls, tmp_path: Path
) -> None:
    began = time.monotonic()
    with pytest.raises(DatabaseError, match="stopped on request"):
        PostgresTools().dump(
            Secret(blocked["host"]),
            tmp_path / "x.dump",
            until_one_waits(world, blocked["name"], lambda: True),
        )
    assert time.monotonic() - began < 10
    assert list(tmp_path.iterdir()) == []


def test_when_asking_whether_to_stop_fails_the_dump_ends_too(
    world: World, blocked: DatabaseUrls, tmp_path: Path
) -> None:
    def fails() -> bool:
        raise StoreError("the store is gone")

    began = time.monotonic()
    with pytest.raises(StoreError):
        PostgresTools().dump(
            Secret(blocked["host"]), tmp_path / "x.dump", until_one_waits(world, blocked["name"], fails)
        )
    assert time.monotonic() - began < 10
    assert list(tmp_path.iterdir()) == []


def test_an_older_dump_of_that_name_stays_when_the_new_one_fails(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    into = tmp_path / "x.dump"
    PostgresTools().dump(Secret(database["host"]), into, never)
    before = into.read_bytes()
    with pytest.raises(DatabaseError):
        PostgresTools().dump(Secret(database["host"] + "nowhere"), into, never)
    assert into.read_bytes() == before
    assert list(tmp_path.iterdir()) == [into]


def test_a_folder_that_cannot_be_made(database: DatabaseUrls, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseError, match="cannot write") as refused:
        PostgresTools().dump(Secret(database["host"]), tmp_path / "file" / "x.dump", never)
    assert refused.value.hint


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
