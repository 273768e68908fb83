"""`backstay backup` on a real shop: alone, beside a deployment, interrupted and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from backstay.adapters.postgres.connection import environment
from backstay.adapters.postgres.tools import find_tool
from backstay.domain.secret import Secret
from tests.shop import Shop
from tests.world.processes import wait_until

pytestmark = pytest.mark.world


def folder_of(shop: Shop) -> Path:
    return shop.folder / "h" / "backups" / "dev"


def catalog(shop: Shop) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(shop.run("backup", "list", "dev", "--json").out)
    return rows


@contextmanager
def locked_table(shop: Shop) -> Iterator[None]:
    """Somebody holds a table locked: a backup begins and then waits."""
    shop.world.query("CREATE TABLE IF NOT EXISTS busy (n int)", shop.name)
    shop.world.query(f'ALTER TABLE busy OWNER TO "{shop.name}"', shop.name)
    with (
        environment(Secret(shop.urls["admin"])) as env,
        subprocess.Popen(
            [find_tool("psql"), "-qAt"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as session,
    ):
        assert session.stdin is not None and session.stdout is not None
        session.stdin.write("BEGIN; LOCK TABLE busy IN ACCESS EXCLUSIVE MODE; SELECT 'locked';\n")
        session.stdin.flush()
        assert session.stdout.readline() == "locked\n"
        yield
        session.kill()


def until_it_waits(shop: Shop) -> None:
    waiting = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{shop.name}' AND query LIKE 'LOCK TABLE public%'"
    assert wait_until(lambda: shop.world.query(waiting).strip() == "1", 20)


def test_created_by_hand_it_is_whole_and_listed(shop: Shop) -> None:
    answer = shop.run("backup", "create", "dev", "--json")
    assert answer.status == 0, answer.err
    assert answer.last == catalog(shop)[0]
    assert answer.last["state"] == "unverified" and answer.last["deployment"] is None
    names = sorted(path.name.partition(".")[2] for path in folder_of(shop).iterdir())
    assert names == ["dump.zst", "globals.sql", "manifest.json"]


def test_one_of_an_emptied_database_or_of_a_wrong_one_is_told(shop: Shop) -> None:
    """Both dumps are whole; only beside the one before do they look odd."""
    shop.world.query("CREATE TABLE things AS SELECT generate_series(1, 5000) AS n", shop.name)
    shop.world.query(f'ALTER TABLE things OWNER TO "{shop.name}"', shop.name)
    assert shop.run("backup", "create", "dev", "--json").last["alarm"] is None
    shop.world.query("DELETE FROM things", shop.name)
    emptied = shop.run("backup", "create", "dev", "--json")
    assert emptied.status == 0 and "bytes, where" in emptied.last["alarm"]
    shop.world.query("INSERT INTO things SELECT generate_series(1, 5000)", shop.name)
    assert shop.run("backup", "create", "dev", "--json").last["alarm"] is None
    other = shop.world.create_database(f"{shop.name}_other")
    try:
        secrets = shop.folder / "secrets.env"
        was = secrets.read_text()
        secrets.write_text(was.replace(shop.urls["host"], other["host"]))
        assert secrets.read_text() != was
        wrong = shop.run("backup", "create", "dev")
    finally:
        shop.world.drop_database(f"{shop.name}_other")
    assert wrong.status == 0 and "bytes, where" in wrong.out + wrong.err, wrong
    assert [bool(row["alarm"]) for row in catalog(shop)] == [True, False, True, False]


def test_beside_a_deployment_that_bakes(shop: Shop) -> None:
    shop.configure(bake="6s")
    assert shop.deploy("v1", "--wait", "switched").status == 0
    shop.until("baking")  # between the switch and the bake there is a smoke test
    answer = shop.run("backup", "create", "dev")
    assert answer.status == 0, answer.err
    assert shop.until("succeeded")["exit_status"] == 0
    assert [row["reason"] for row in catalog(shop)] == ["on demand", "before v1"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing_and_says_130(shop: Shop, number: signal.Signals) -> None:
    with locked_table(shop):
        process = shop.start("backup", "create", "dev")
        until_it_waits(shop)
        process.send_signal(number)
        assert process.wait(20) == 130
    assert list(folder_of(shop).iterdir()) == [] and catalog(shop) == []


def test_killed_it_leaves_only_what_the_next_one_sweeps(shop: Shop) -> None:
    with locked_table(shop):
        process = shop.start("backup", "create", "dev")
        until_it_waits(shop)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        left = list(folder_of(shop).iterdir())
        assert left and all(path.name.endswith(".partial") for path in left)
    assert shop.run("backup", "create", "dev").status == 0
    assert not [path for path in folder_of(shop).iterdir() if path.name.endswith(".partial")]
    assert len(catalog(shop)) == 1


def test_a_deploy_whose_backup_fails_says_30_and_the_old_release_serves(shop: Shop) -> None:
    assert shop.deploy("v1").status == 0
    secrets = shop.folder / "secrets.env"
    secrets.write_text(secrets.read_text().replace(f"/{shop.name}\nSECRET", "/nowhere\nSECRET"))
    answer = shop.deploy("v2")
    assert (answer.status, answer.last["failed_step"], answer.last["backup"]) == (30, "backup", None)
    assert 'database "nowhere" does not exist' in answer.last["reason"]
    assert shop.serving() == {"backend": "v1", "frontend": "v1"}
    assert [row["state"] for row in catalog(shop)] == ["failed", "unverified"]
    assert shop.status()["last_backup"]["state"] == "unverified"


def test_no_secret_is_in_any_argument_variable_or_file(shop: Shop) -> None:
    seen = b""
    with locked_table(shop):
        process = shop.start("backup", "create", "dev")
        until_it_waits(shop)
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environ = (folder / "environ").read_bytes()
                if f"PGDATABASE={shop.name}".encode() in environ:
                    seen += environ
                seen += (folder / "cmdline").read_bytes()
            except OSError:
                continue
        assert b"pg_dump" in seen and b"PGPASSFILE" in seen
        os.kill(process.pid, signal.SIGTERM)
        process.wait(20)
    answer = shop.run("backup", "create", "dev", "--verbose")
    seen += (answer.out + answer.err).encode()
    for path in (shop.folder / "h").rglob("*"):
        if path.is_file() and path.suffix != ".zst":
            seen += path.read_bytes()
    assert shop.urls["password"].encode() not in seen
