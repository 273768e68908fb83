"""What is peculiar to servers from this host's binaries."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backstay.adapters.scratch import OpenScratches, sql
from backstay.adapters.scratch.processes import working_in
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError
from backstay.ports.scratch import ScratchOrder
from backstay.testing.engine import FakeEngine
from tests.world.commands import run

pytestmark = pytest.mark.world


def owner(pid: int) -> int | None:
    """The uid it runs as; None of one that has ended, as a server's helpers do all the time."""
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except FileNotFoundError:
        return None


def test_it_runs_unprivileged_in_a_folder_that_nobody_else_may_enter(
    scratches: OpenScratches, order: ScratchOrder, root: Path
) -> None:
    with scratches.open(order) as server:
        own = root / order.name
        assert (own.stat().st_mode & 0o777, root.stat().st_mode & 0o777) == (0o700, 0o700)
        owners = {owner(pid) for pid in working_in(own)} - {None}
        assert owners and 0 not in owners
        assert sql.rows(server.url(), "SHOW listen_addresses") == [("127.0.0.1",)]
        wrong = Secret(server.url().reveal().replace("backstay_scratch:", "backstay_scratch:x"))
        with pytest.raises(DatabaseError, match="password"):
            sql.rows(wrong, "SELECT 1")
    assert working_in(root) == []


def test_what_is_missing_is_named_with_its_package(scratches: OpenScratches, order: ScratchOrder) -> None:
    with pytest.raises(DatabaseError, match="of PostgreSQL 9 is needed") as told:
        scratches.open(replace(order, major=9))
    assert "postgresql-9" in str(told.value.hint)


def test_data_from_elsewhere_are_left_alone(
    scratches: OpenScratches, order: ScratchOrder, tmp_path: Path
) -> None:
    (tmp_path / "theirs").mkdir()
    with pytest.raises(DatabaseError, match="not the folder that was given"):
        scratches.open(replace(order, data=tmp_path / "theirs"))
    assert (tmp_path / "theirs").exists()


@pytest.fixture
def sharing(tmp_path: Path) -> Iterator[Path]:
    """A folder on a filesystem whose files can share their blocks."""
    image, folder = tmp_path / "image", tmp_path / "xfs"
    folder.mkdir()
    run(["truncate", "-s", "600M", image])
    run(["mkfs.xfs", "-q", "-m", "reflink=1", image])
    run(["mount", "-o", "loop", image, folder])
    yield folder
    run(["umount", folder])


def test_where_files_can_share_blocks_a_state_is_kept_by_reference(
    order: ScratchOrder, sharing: Path
) -> None:
    with OpenScratches(sharing, FakeEngine()).open(order) as server:
        server.create("shop")
        sql.act(server.url("shop"), "CREATE TABLE t AS SELECT generate_series(1, 1000000) AS n")
        began = time.monotonic()
        assert server.keep("shop") == "reflink"
        took_s = time.monotonic() - began
        sql.act(server.url("shop"), "DROP TABLE t")
        assert server.go_back("shop")
        assert sql.rows(server.url("shop"), "SELECT count(*) FROM t") == [(1000000,)]
        assert took_s < 5
    assert list(sharing.iterdir()) == []
