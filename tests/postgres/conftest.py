"""A database with a table of ours, a table that somebody holds locked, and a private server to maltreat."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backstay.adapters.postgres.connection import environment
from backstay.adapters.postgres.tools import find_tool
from backstay.domain.secret import Secret
from tests.postgres.server import Server
from tests.world import World
from tests.world.commands import run
from tests.world.postgres import DatabaseUrls
from tests.world.processes import wait_until

ROWS = 2000
VERSION = 'if [ "$1" = --version ]; then echo "{name} (PostgreSQL) {major}.2 (Debian)"; exit; fi\n'


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
    left_alone(world, made["name"])
    yield made
    world.drop_database(made["name"])


def left_alone(world: World, name: str) -> None:
    """Returns when nobody is signed in to the database: a session is there for a moment after its client has left."""
    there = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'"
    assert wait_until(lambda: world.query(there).strip() == "0", 20)


@pytest.fixture
def blocked(database: DatabaseUrls) -> Iterator[DatabaseUrls]:
    """The same, with a table that somebody holds locked: a dump of it waits."""
    with holding(database["admin"], "products"):
        yield database


@contextmanager
def holding(url: str, table: str) -> Iterator[None]:
    """Somebody holds the table locked."""
    with (
        environment(Secret(url)) as env,
        subprocess.Popen(
            [find_tool("psql"), "-qAt"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as session,
    ):
        assert session.stdin is not None and session.stdout is not None
        session.stdin.write(f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT 'locked';\n")
        session.stdin.flush()
        assert session.stdout.readline() == "locked\n"
        yield
        session.kill()


@pytest.fixture(scope="session")
def server(world: World) -> Iterator[Server]:
    """A server that nobody else uses, with six connections in all."""
    with Server(world.postgres, connections=6) as made:
        yield made


@pytest.fixture
def small_disk() -> Iterator[Callable[[str], Path]]:
    """Mounts a tmpfs with the given options and gives its folder."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="bs-"))
        run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder])
        mounted.append(folder)
        return folder

    try:
        yield mount
    finally:
        for folder in mounted:
            run(["umount", folder])
            shutil.rmtree(folder)


def tool(folder: Path, script: str, name: str = "pg_dump", major: int = 15) -> Path:
    """A program that tells its version, and does what the script says."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{VERSION.format(name=name, major=major)}{script}\n")
    path.chmod(0o755)
    return path


@contextmanager
def sessions(url: str, count: int) -> Iterator[None]:
    """Hold some connections open."""
    with environment(Secret(url)) as env:
        held = [
            subprocess.Popen(
                [find_tool("psql"), "-qAt"],
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(count)
        ]
        try:
            for session in held:
                assert session.stdin is not None and session.stdout is not None
                session.stdin.write("SELECT 'here';\n")
                session.stdin.flush()
                assert session.stdout.readline() == "here\n"
            yield
        finally:
            for session in held:
                session.communicate()
