"""A server of one's own from end to end: a physical backup, encrypted and copied, verified, and its database
restored."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyrage
import pytest

from backstay.adapters.postgres import PostgresTools
from backstay.domain.secret import Secret
from devtools.bench.environment import console_script
from tests.config.samples import GOOD
from tests.postgres.server import Server
from tests.world import World

pytestmark = pytest.mark.world
IDENTITY = pyrage.x25519.Identity.generate()


@pytest.fixture
def place(world: World, tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    """A server that is the application's alone, and a folder with its configuration."""
    with Server(world.postgres, connections=15, senders=4) as server:
        server.query("CREATE DATABASE shop")
        server.query(
            "CREATE TABLE orders AS SELECT n AS id, md5(n::text) AS token FROM generate_series(1, 90000) n",
            "shop",
        )
        server.query("CREATE DATABASE empty TEMPLATE template0")
        database = next(line for line in GOOD.splitlines() if line.startswith("database:"))
        copy = f"copy: {{command: [cp, -r, '{{path}}', '{tmp_path}/away']}}"
        keys = f"encrypt_to: [{IDENTITY.to_public()}], identity_secret: IDENTITY"
        line = f"database: {{url_secret: DATABASE_URL, backup: physical, {keys}, {copy}}}"
        (tmp_path / "backstay.yml").write_text(GOOD.replace(database, line))
        secrets = tmp_path / "dev.env"
        secrets.touch(mode=0o600)
        url, target = server.url_of("shop"), server.url_of("empty")
        secrets.write_text(f"DATABASE_URL={url}\nIDENTITY={IDENTITY}\nTARGET={target}\n")
        yield server, tmp_path


def backstay(folder: Path, *words: str, status: int = 0) -> Any:
    env = {**os.environ, "BACKSTAY_HOME": str(folder / "home")}
    done = subprocess.run(
        [*console_script("backstay"), *words, "--json"],
        cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def test_backed_up_copied_verified_and_restored(place: tuple[Server, Path]) -> None:
    server, folder = place
    made = backstay(folder, "backup", "create", "dev")
    assert (made["kind"], made["encrypted"], made["state"]) == ("physical", True, "unverified")
    assert {path.suffix for path in Path(made["path"]).iterdir()} == {".age"}
    [row] = backstay(folder, "backup", "list", "dev")
    assert row["copied_at"] and row["same_disk"] is True
    assert sorted(path.name for path in (folder / "away").iterdir())[0] == f"{made['id']}.base"

    found = backstay(folder, "backup", "verify", "dev")
    assert found["rows"] >= 90000
    [row] = backstay(folder, "backup", "list", "dev")
    assert row["state"] == "verified" and row["verified_at"]

    proof = backstay(folder, "backup", "restore", "dev", made["id"], "--target", "secret:TARGET", "--yes")
    assert proof["rows"] == 90000
    assert server.query("SELECT count(*) FROM orders", "empty") == "90000"
    out_of = backstay(folder, "backup", "list", "dev")[0]
    assert (out_of["kind"], out_of["encrypted"], out_of["reason"]) == (
        "logical",
        True,
        f"out of {made['id']}",
    )
    PostgresTools().examine(Path(out_of["path"]))
    assert PostgresTools().content(Secret(server.url_of("shop")), 30).rows == 90000


def test_a_damaged_page_fails_the_backup_and_keeps_the_older_ones(place: tuple[Server, Path]) -> None:
    server, folder = place
    file = folder / "backstay.yml"
    text = file.read_text()
    file.write_text(text.replace("  dev: {", "  dev: {policy: {keep_backups: 1}, "))
    assert file.read_text() != text
    older = backstay(folder, "backup", "create", "dev")["id"]
    backstay(folder, "backup", "verify", "dev")
    server.query("CHECKPOINT")
    heap = server.data / server.query("SELECT pg_relation_filepath('orders')", "shop")
    server.stop()
    whole = heap.read_bytes()
    heap.write_bytes(whole[:9000] + bytes(2) + whole[9002:])
    server.start()
    refused = backstay(folder, "backup", "create", "dev", status=30)
    assert "pages with wrong checksums" in refused["reason"] and "older backups are kept" in refused["hint"]

    server.stop()
    heap.write_bytes(whole)
    server.start()
    later = backstay(folder, "backup", "create", "dev")["id"]
    kept = [row["id"] for row in backstay(folder, "backup", "list", "dev") if row["path"]]
    assert kept == [later, older] and backstay(folder, "backup", "prune", "dev") == []
    backstay(folder, "backup", "verify", "dev")
    backstay(folder, "backup", "prune", "dev")
    assert [row["id"] for row in backstay(folder, "backup", "list", "dev") if row["path"]] == [later]
