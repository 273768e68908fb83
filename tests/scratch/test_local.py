"""Scratch servers from the binaries of this host."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from backstay.adapters.scratch import OpenScratches, sql
from backstay.adapters.scratch.processes import working_in
from backstay.errors import DatabaseError
from backstay.ports.scratch import ScratchOrder
from backstay.testing.engine import FakeEngine
from tests.world import World
from tests.world.commands import run

pytestmark = pytest.mark.world


def test_a_server_of_its_own_and_nothing_left(
    scratches: OpenScratches, order: ScratchOrder, root: Path
) -> None:
    with scratches.open(order) as server:
        server.create("shop")
        server.adopt_role("ann", "shop")
        sql.act(server.url("shop", "ann"), "CREATE TABLE t AS SELECT generate_series(1, 10) AS n")
        server.create("again", template="shop")
        assert sql.rows(server.url("again"), "SELECT count(*) FROM t") == [(10,)]
        server.drop("again")
        with pytest.raises(DatabaseError, match="does not exist"):
            sql.rows(server.url("again"), "SELECT 1")
        with pytest.raises(DatabaseError, match=r"permission denied|must be"):
            sql.act(server.url("shop", "ann"), "ALTER SYSTEM SET fsync = on")
    assert list(root.iterdir()) == []
    assert working_in(root) == []


def test_it_starts_on_a_physical_backup_with_a_password_of_its_own(
    scratches: OpenScratches, order: ScratchOrder, world: World
) -> None:
    made = world.create_database(f"phys{os.getpid()}")
    world.query("CREATE TABLE t AS SELECT generate_series(1, 10) AS n", made["name"])
    data = scratches.folder(order)
    run(
        [Path(world.postgres.bin_dir) / "pg_basebackup", "-D", data, "-w", "-h", world.postgres.host,
         "-p", str(world.postgres.port), "-U", world.postgres.superuser, "-X", "stream", "-c", "fast"],
        env={"PGPASSWORD": world.postgres.password},
    )  # fmt: skip
    try:
        with scratches.open(replace(order, data=data)) as server:
            assert sql.rows(server.url(made["name"]), "SELECT count(*) FROM t") == [(10,)]
            server.adopt_role(made["user"], made["name"])
            assert sql.rows(server.url(made["name"], made["user"]), "SELECT current_user") == [
                (made["user"],)
            ]
        assert not data.exists()
    finally:
        world.drop_database(made["name"])


def test_a_name_is_given_once(scratches: OpenScratches, order: ScratchOrder, root: Path) -> None:
    scratches.folder(order)
    with pytest.raises(DatabaseError, match="already"):
        OpenScratches(root, FakeEngine()).folder(order)
    scratches.give_up(order)


OWNER = """
import sys, time
from pathlib import Path
from backstay.adapters.scratch import OpenScratches
from backstay.ports.scratch import ScratchOrder
from backstay.testing.engine import FakeEngine
server = OpenScratches(Path(sys.argv[1]), FakeEngine()).open(ScratchOrder("shop", "dev", sys.argv[2], int(sys.argv[3])))
print("up", flush=True)
time.sleep(60)
"""


def test_what_a_killed_owner_left_is_swept_and_nothing_of_the_living(
    scratches: OpenScratches, order: ScratchOrder, root: Path
) -> None:
    words = [sys.executable, "-c", OWNER, str(root), order.name, str(order.major)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None and owner.stdout.readline() == "up\n"
        assert scratches.sweep("shop", "dev") == []  # its owner lives
        owner.send_signal(signal.SIGKILL)
    with scratches.open(replace(order, name=f"{order.name}-mine")) as mine:
        assert working_in(root / order.name) != []
        assert scratches.sweep("shop", "uat") == []  # another environment's are not ours to judge
        began = time.monotonic()
        assert scratches.sweep("shop", "dev") == [f"scratch server {order.name}, whose owner died"]
        assert time.monotonic() - began < 5
        assert working_in(root / order.name) == []
        assert sql.rows(mine.url(), "SELECT 1") == [(1,)]


def test_another_major_version_is_named(scratches: OpenScratches, order: ScratchOrder) -> None:
    with pytest.raises(DatabaseError, match="of PostgreSQL 9 is needed") as told:
        scratches.open(replace(order, major=9))
    assert "postgresql-9" in str(told.value.hint)
