"""What a deployment pays for a proven backup and a rehearsal, beside what a script pays for an unproven dump alone."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from backstay.adapters.clock import SystemClock
from backstay.adapters.docker import DockerEngine
from backstay.adapters.http import HttpProber
from backstay.adapters.postgres import PostgresTools
from backstay.adapters.scratch import OpenScratches
from backstay.adapters.squawk import Squawk
from backstay.adapters.store import open_store
from backstay.domain.backup import BackupKind, BackupLimits
from backstay.domain.environment import Bind, DatabaseSource, Environment
from backstay.domain.policy import BUILT_IN, Level
from backstay.domain.rehearsal import Outlook
from backstay.domain.release import Component, Health, Release, Route
from backstay.domain.secret import Secret
from backstay.pipeline.backup import BackupOrder, back_up
from backstay.pipeline.rehearse import images_of, rehearse
from backstay.pipeline.trial import RehearsalOrder
from backstay.ports.engine import Login
from backstay.ports.store import Store
from devtools.bench.backup import ACCOUNTS_OF_2_GB, ORDERS_OF_2_GB, statements
from devtools.bench.environment import BenchError
from devtools.bench.figure import Beside, Figure, Result, middle
from tests.postgres.server import Server
from tests.world import World

RUNS = 3
BAR = 1.0
LEAST_BYTES = 1_900_000_000
NAME = "bench"


@dataclass
class Ports:
    """The real parts that a rehearsal works with."""

    store: Store
    engine: DockerEngine
    scratches: OpenScratches
    database: PostgresTools = field(default_factory=PostgresTools)
    prober: HttpProber = field(default_factory=HttpProber)
    linter: Squawk = field(default_factory=Squawk)
    clock: SystemClock = field(default_factory=SystemClock)


def measure(world: World) -> Result:
    """Seconds of both, by turns, on a server of its own. Raises BenchError."""
    with Server(world.postgres, connections=30, senders=4) as server:
        server.query(f"CREATE DATABASE {NAME}")
        for statement in statements(ACCOUNTS_OF_2_GB, ORDERS_OF_2_GB):
            server.query(statement, NAME)
        size = int(server.query(f"SELECT pg_database_size('{NAME}')"))
        if size < LEAST_BYTES:
            raise BenchError(f"the database has only {size} bytes")
        with tempfile.TemporaryDirectory(prefix="bs-") as folder, _ports(world, Path(folder)) as ports:
            return _compare(world, server.url_of(NAME), size, Path(folder), ports)


def _compare(world: World, url: str, size: int, folder: Path, ports: Ports) -> Result:
    order = _order(world, ports, url)
    dumps: list[float] = []
    found: dict[BackupKind, list[tuple[float, float, float]]] = {kind: [] for kind in BackupKind}
    for number in range(RUNS):
        dumps.append(_dump_and_gzip(world, url, folder / "plain.sql.gz"))
        found[BackupKind.PHYSICAL].append(_ours(ports, order, url, folder, BackupKind.PHYSICAL))
        if number == 0:  # once, to compare: it is what a managed server leaves us
            found[BackupKind.LOGICAL].append(_ours(ports, order, url, folder, BackupKind.LOGICAL))
    totals = [sum(parts) for parts in found[BackupKind.PHYSICAL]]
    script = Beside("pg_dump | gzip", median(dumps))
    [logical] = found[BackupKind.LOGICAL]
    return Result(
        f"rehearsal: backup, proof by restore and rehearsal of a deploy, beside `pg_dump | gzip`, {size / 1e9:.2f} GB",
        [
            # By turn, because the load of a shared machine drifts: each pair has run in the same minutes.
            middle(
                "physical, as a share of pg_dump | gzip",
                [a / b for a, b in zip(totals, dumps, strict=True)], "", at_most=BAR,
            ),
            middle("physical: all of it", totals, beside=script),
            middle("  backup", [parts[0] for parts in found[BackupKind.PHYSICAL]]),
            middle("  restore and compare", [parts[1] for parts in found[BackupKind.PHYSICAL]]),
            middle("  migrate twice, boot new and old", [parts[2] for parts in found[BackupKind.PHYSICAL]]),
            Figure("logical: all of it (once)", sum(logical), "s", beside=script),
            middle("pg_dump | gzip", dumps),
        ],
        ["every row of the copy is compared with the source; the script's dump is proven by nothing"],
    )  # fmt: skip


def _ours(
    ports: Ports, order: RehearsalOrder, url: str, folder: Path, kind: BackupKind
) -> tuple[float, float, float]:
    """Seconds of the backup, of its proof, and of what is tried on the copy."""
    began = time.perf_counter()
    job = BackupOrder("bench", "dev", Secret(url), folder / "backups", "bench", 10, BackupLimits(), kind=kind)
    backup = back_up(ports, job, ports.store.record_backup, _silent)
    backed_up = time.perf_counter()
    result = rehearse(ports, backup, order, _silent)
    ended = time.perf_counter()
    if result.judgement.outlook is not Outlook.COMPATIBLE or not result.verification.ok:
        raise BenchError(f"the rehearsal is {result.judgement.outlook}: {result.judgement.reasons}")
    proof = result.verification.took_s
    with ports.database.removal(Path(backup.path)):
        ports.store.remove_backup(backup.id)
    return backed_up - began, proof, ended - backed_up - proof


def _order(world: World, ports: Ports, url: str) -> RehearsalOrder:
    """v2 of the shop is rehearsed, while v1 is said to serve."""
    environment = Environment(
        "bench", "dev", "bench-dev", True, Bind("127.0.0.1", 8080), BUILT_IN[Level.BASIC], (26000, 26099), "",
        database=DatabaseSource("DATABASE_URL", "DATABASE_URL"),
    )  # fmt: skip
    login = Login(world.registry.user, Secret(world.registry.password))
    new, old = (_release(world, ports.engine, version, login) for version in ("v2", "v1"))
    return RehearsalOrder(
        environment, new, images_of(ports.engine, new, login), ("backend",), old, images_of(ports.engine, old, login),
        {"DATABASE_URL": Secret(url), "SECRET_KEY": Secret("k" * 40)},
    )  # fmt: skip


def _release(world: World, engine: DockerEngine, version: str, login: Login) -> Release:
    def component(name: str, port: int, health: Health, **more: Any) -> Component:
        image = f"{world.registry.address}/shop-{name}"
        return Component(name, image, version, engine.digest(image, version, login), port, health, **more)

    backend = component(
        "backend", 8000, Health("/api/v1/health/", {"Host": "localhost"}, 60, 0.1),
        secrets=("DATABASE_URL", "SECRET_KEY"), migrate=("python", "manage.py", "migrate", "--noinput"),
    )  # fmt: skip
    frontend = component("frontend", 8080, Health("/", {}, 60, 0.1))
    routes = (Route("/api/", "backend"), Route("/", "frontend"))
    return Release("bench", version, {"backend": backend, "frontend": frontend}, routes)


@contextmanager
def _ports(world: World, folder: Path) -> Iterator[Ports]:
    engine = DockerEngine(world.docker_host)
    store = open_store(folder / "state.db", clock=SystemClock())
    try:
        yield Ports(store, engine, OpenScratches(folder / "scratch", engine))
    finally:
        store.close()


def _dump_and_gzip(world: World, url: str, into: Path) -> float:
    began = time.perf_counter()
    line = f'{Path(world.postgres.bin_dir) / "pg_dump"} "$URL" | gzip >{into}'
    subprocess.run(["bash", "-o", "pipefail", "-c", line], env={**os.environ, "URL": url}, check=True)
    return time.perf_counter() - began


def _silent(kind: str, message: str, **data: Any) -> None:
    return
