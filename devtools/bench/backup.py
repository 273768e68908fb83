"""A backup beside what a script would do, `pg_dump | gzip`: the same database, by turns."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

from devtools.bench.environment import BenchError, as_installed, console_script
from devtools.bench.figure import Beside, Figure, Result, middle
from tests.world import World

NAME = "benchbackup"
RUNS = 3
BAR = 0.6
LEAST_BYTES = 1_000_000_000

# Half of it compresses well, as counters and blanks do; half is wide rows of text, numbers and JSON, as orders are.
ROWS = """
CREATE TABLE accounts AS SELECT n AS id, n % 100 AS branch, 0 AS balance, rpad('', 84) AS filler
  FROM generate_series(1, 4200000) n;
ALTER TABLE accounts ADD PRIMARY KEY (id);
CREATE TABLE orders AS SELECT n AS id, md5(n::text) AS reference, repeat(md5((n * 7)::text), 8) AS note,
    jsonb_build_object('customer', n % 9999, 'token', md5((n * 3)::text), 'lines', array[n, n * 2, n * 3]) AS body
  FROM generate_series(1, 900000) n;
ALTER TABLE orders ADD PRIMARY KEY (id);
CREATE INDEX orders_reference ON orders (reference);
"""


def measure(world: World) -> Result:
    """Seconds and bytes of both, by turns. Raises BenchError."""
    made = world.create_database(NAME)
    try:
        world.query(f'SET ROLE "{made["user"]}"; {ROWS}', NAME)
        size = int(world.query(f"SELECT pg_database_size('{NAME}')"))
        if size < LEAST_BYTES:
            raise BenchError(f"the database has only {size} bytes")
        with tempfile.TemporaryDirectory(prefix="bs-") as folder:
            return _compare(world, made["host"], size, Path(folder))
    finally:
        world.drop_database(NAME)


def _compare(world: World, url: str, size: int, folder: Path) -> Result:
    env = {
        **as_installed(world.env()), "BACKSTAY_HOME": str(folder / "home"), "BACKSTAY_DATABASE_URL": url,
        "BACKSTAY_APP": "bench",
    }  # fmt: skip
    ours, theirs, sizes = [], [], []
    plain = folder / "plain.sql.gz"
    # The first round only warms the server's cache, for both.
    for number in range(RUNS + 1):
        script = _seconds(lambda: _dump_and_gzip(world, url, plain))
        backup = _seconds(lambda: sizes.append(_create(env, folder)))
        if number:
            theirs.append(script)
            ours.append(backup)
    return Result(
        f"backup: `backup create` beside `pg_dump | gzip`, a database of {size / 1e9:.2f} GB",
        [
            # By turn, because the load of a shared machine drifts: each pair has run in the same minute.
            middle(
                "time, as a share of pg_dump | gzip",
                [a / b for a, b in zip(ours, theirs, strict=True)],
                "",
                at_most=BAR,
            ),
            middle("backup create", ours, beside=Beside("pg_dump | gzip", median(theirs))),
            middle("pg_dump | gzip", theirs),
            Figure(
                "bytes of the dump", sizes[-1] / 1e6, "MB", beside=Beside("pg_dump | gzip", plain.stat().st_size / 1e6)
            ),
        ],
        ["ours also syncs to the disk, reads back what lies there, and writes globals, manifest and catalog"],
    )  # fmt: skip


def _create(env: Mapping[str, str], folder: Path) -> int:
    done = subprocess.run(
        [*console_script("backstay"), "backup", "create", "dev", "--json"],
        env=env, cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise BenchError(f"backstay backup create ended with {done.returncode}: {done.stderr.strip()}")
    return int(json.loads(done.stdout)["bytes"])


def _dump_and_gzip(world: World, url: str, into: Path) -> None:
    pg_dump = Path(world.postgres.bin_dir) / "pg_dump"
    line = f'{shlex.quote(str(pg_dump))} "$URL" | gzip >{shlex.quote(str(into))}'
    subprocess.run(["bash", "-o", "pipefail", "-c", line], env={**os.environ, "URL": url}, check=True)


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
