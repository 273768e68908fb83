"""Backups and restores beside what a script would do (`pg_dump | gzip`, `gunzip | psql`): the same 3 GB, by turns."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from backstay.adapters.postgres import PostgresTools
from backstay.domain.secret import Secret
from backstay.ports.database import RestoreOrder
from devtools.bench.environment import BenchError, as_installed, console_script
from devtools.bench.figure import Beside, Figure, Result, middle
from tests.world import World
from tests.world.postgres import DatabaseUrls

NAME, SMALL, COPY = "benchbackup", "benchsmall", "benchcopy"
RUNS = 2
LEAST_BYTES = 2_500_000_000
MEMORY_GROWS = 1.25
"""Of the peak memory when the database is twenty times as large; what is above is noise of the allocator."""

# Half of it compresses well, as counters and blanks do; half is wide rows of text, numbers and JSON, as orders are.
# Several tables of each, as in any application, so that whoever can may work on several at once.
COPIES = 3
TABLES = """
CREATE TABLE accounts{n} (id int, branch int, balance int, filler text);
CREATE TABLE orders{n} (id int, reference text, note text, body jsonb);
"""
ACCOUNTS = (
    "INSERT INTO accounts{n} SELECT n, n % 100, 0, rpad('', 84) FROM generate_series({first}, {last}) n"
)
ORDERS = """
INSERT INTO orders{n} SELECT n, md5(n::text), repeat(md5((n * 7)::text), 8),
  jsonb_build_object('customer', n % 9999, 'token', md5((n * 3)::text), 'lines', array[n, n * 2, n * 3])
FROM generate_series({first}, {last}) n"""
KEYS = (
    "ALTER TABLE accounts{n} ADD PRIMARY KEY (id)",
    "ALTER TABLE orders{n} ADD PRIMARY KEY (id)",
    "CREATE INDEX ON orders{n} (reference)",
)
CHUNK = 500_000
"""Rows per statement: none may take longer than the world waits for an answer."""

ACCOUNTS_OF_2_GB, ORDERS_OF_2_GB = 7_500_000, 1_600_000
ACCOUNTS_OF_3_GB, ORDERS_OF_3_GB = 10_800_000, 2_400_000


def statements(accounts: int, orders: int) -> Iterator[str]:
    """SQL that makes the tables and fills them with so many rows in all, in statements that none takes long."""
    for n in range(COPIES):
        yield TABLES.format(n=n)
        for query, rows in ((ACCOUNTS, accounts // COPIES), (ORDERS, orders // COPIES)):
            for first in range(1, rows + 1, CHUNK):
                yield query.format(n=n, first=first, last=min(first + CHUNK - 1, rows))
        yield from (query.format(n=n) for query in KEYS)
    # As it would be after a while: pages all visible, statistics there.
    yield "VACUUM ANALYZE"


@dataclass
class Times:
    """Seconds of each way, one entry per turn, and what came out."""

    seed_dump: list[float] = field(default_factory=list)
    seed_restore: list[float] = field(default_factory=list)
    logical: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    physical: list[float] = field(default_factory=list)
    restore: list[float] = field(default_factory=list)
    unpack: list[float] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)


def measure(world: World) -> Result:
    """Shares of the scripts' time and size, by turns. Raises BenchError."""
    large, small = world.create_database(NAME), world.create_database(SMALL)
    try:
        _fill(world, large, ACCOUNTS_OF_3_GB, ORDERS_OF_3_GB)
        _fill(world, small, ACCOUNTS_OF_3_GB // 20, ORDERS_OF_3_GB // 20)
        world.query("CHECKPOINT", NAME)
        size = int(world.query(f"SELECT pg_database_size('{NAME}')"))
        if size < LEAST_BYTES:
            raise BenchError(f"the database has only {size} bytes")
        with tempfile.TemporaryDirectory(prefix="bs-") as folder:
            return _result(_Compared(world, large, small, Path(folder)).times(), size)
    finally:
        for name in (COPY, NAME, SMALL):
            world.drop_database(name)


def _fill(world: World, database: DatabaseUrls, accounts: int, orders: int) -> None:
    for statement in statements(accounts, orders):
        world.query(f'SET ROLE "{database["user"]}"; {statement}', database["name"])


class _Compared:
    def __init__(self, world: World, large: DatabaseUrls, small: DatabaseUrls, folder: Path) -> None:
        self._world = world
        self._large = large
        self._small = small
        self._folder = folder
        self._bin = Path(world.postgres.bin_dir)
        self._plain = folder / "plain.sql.gz"
        self._times = Times()

    def times(self) -> Times:
        times = self._times
        self._seed_dump()  # warms the server's cache, for all of them
        times.memory["small"] = self._create("small", self._small["host"])["memory"]
        for _ in range(RUNS):
            times.seed_dump.append(_seconds(self._seed_dump))
            times.logical.append(_seconds(lambda: self._create("logical", self._large["host"])))
            times.physical.append(_seconds(lambda: self._create("physical", self._large["admin"])))
            times.seed_restore.append(self._into_copy(self._seed_restore))
            times.restore.append(self._into_copy(self._restore))
            times.unpack.append(_seconds(self._unpack))
            shutil.rmtree(self._folder / "data")
        times.sizes["seed"] = self._plain.stat().st_size
        return times

    def _seed_dump(self) -> None:
        line = f'{shlex.quote(str(self._bin / "pg_dump"))} --no-owner "$URL" | gzip >{shlex.quote(str(self._plain))}'
        self._script(line, self._large["host"])

    def _seed_restore(self, url: str) -> None:
        psql = shlex.quote(str(self._bin / "psql"))
        self._script(f'gunzip -c {shlex.quote(str(self._plain))} | {psql} -q "$URL" >{os.devnull}', url)

    def _script(self, line: str, url: str) -> None:
        subprocess.run(["bash", "-o", "pipefail", "-c", line], env={**os.environ, "URL": url}, check=True)

    def _create(self, kind: str, url: str) -> dict[str, Any]:
        env = as_installed(self._world.env()) | {
            "BACKSTAY_HOME": str(self._folder / kind), "BACKSTAY_DATABASE_URL": url, "BACKSTAY_APP": "bench",
        }  # fmt: skip
        made = _run_measured(
            [*console_script("backstay"), "backup", "create", "dev", "--json"], env, self._folder
        )
        if made["kind"] != ("physical" if kind == "physical" else "logical"):
            raise BenchError(f"a {made['kind']} backup was made instead of a {kind} one")
        self._times.sizes[kind] = made["bytes"]
        self._times.memory[kind] = made["memory"]
        self._made = {**getattr(self, "_made", {}), kind: Path(made["path"])}
        return made

    def _into_copy(self, act: Callable[[str], None]) -> float:
        copy = self._world.create_database(COPY)
        try:
            return _seconds(lambda: act(copy["host"]))
        finally:
            self._world.drop_database(COPY)

    def _restore(self, url: str) -> None:
        PostgresTools().restore(RestoreOrder(self._made["logical"], Secret(url), owners=False))

    def _unpack(self) -> None:
        PostgresTools().unpack(self._made["physical"], self._folder / "data")


def _result(times: Times, size: int) -> Result:
    def share(name: str, ours: list[float], theirs: list[float], at_most: float) -> Figure:
        # By turn, because the load of a shared machine drifts: each pair has run in the same minutes.
        return middle(name, [a / b for a, b in zip(ours, theirs, strict=True)], "", at_most=at_most)

    dump, load = (
        Beside("pg_dump | gzip", median(times.seed_dump)),
        Beside("gunzip | psql", median(times.seed_restore)),
    )
    seed = times.sizes["seed"]
    return Result(
        f"backup: beside `pg_dump | gzip` and `gunzip | psql`, a database of {size / 1e9:.2f} GB",
        [
            share("logical backup, share of pg_dump | gzip", times.logical, times.seed_dump, 0.5),
            middle("logical backup", times.logical, beside=dump),
            Figure("its size, share of gzip's", times.sizes["logical"] / seed, "", at_most=1.0),
            share("physical backup, share of pg_dump | gzip", times.physical, times.seed_dump, 0.2),
            middle("physical backup", times.physical, beside=dump),
            Figure("its size", times.sizes["physical"] / 1e6, "MB", beside=Beside("gzip", seed / 1e6)),
            share("logical restore, share of gunzip | psql", times.restore, times.seed_restore, 0.6),
            middle("logical restore", times.restore, beside=load),
            share("physical restore, share of gunzip | psql", times.unpack, times.seed_restore, 0.2),
            middle("physical restore, checked", times.unpack, beside=load),
            Figure(
                "memory of the largest process, share of that at a twentieth of the size",
                times.memory["logical"] / times.memory["small"], "", at_most=MEMORY_GROWS,
            ),
            Figure("memory of the largest process", times.memory["logical"] / 1e6, "MB"),
        ],
        [
            "our backups also sync to the disk, read back what lies there, hash it, take rows and checksums of every"
            " table, and write globals, manifest and catalog; our restores check every byte first",
        ],
    )  # fmt: skip


def _run_measured(argv: list[str], env: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """The JSON it prints, and `memory`: the most bytes that it or any of its helpers held."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = subprocess.Popen(argv, env=env, cwd=folder, stdout=out, stderr=err).pid
        _, status, usage = os.wait4(pid, 0)
        for stream in (out, err):
            stream.seek(0)
        if status != 0:
            raise BenchError(f"{' '.join(argv[1:])} ended badly: {err.read().decode().strip()}")
        return {**json.loads(out.read()), "memory": usage.ru_maxrss * 1024}


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
