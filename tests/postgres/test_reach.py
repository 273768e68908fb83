"""A look at a real database: reached, refused, full, or silent; each with a cause and a cure, and no password."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from subprocess import DEVNULL, PIPE, Popen

import pytest

from backstay.adapters.postgres import PostgresTools
from backstay.adapters.postgres.connection import environment
from backstay.adapters.postgres.tools import find_tool
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError
from tests.world import World
from tests.world.postgres import DatabaseUrls

pytestmark = pytest.mark.world


@pytest.fixture
def database(world: World) -> Iterator[DatabaseUrls]:
    name = f"reach_{os.getpid()}"
    yield world.create_database(name)
    world.drop_database(name)


def refused(url: str, deadline_s: float = 5.0) -> DatabaseError:
    with pytest.raises(DatabaseError) as caught:
        PostgresTools().reach(Secret(url), "shop", deadline_s)
    assert caught.value.hint
    return caught.value


def test_version_and_connections_of_the_applications_role(world: World, database: DatabaseUrls) -> None:
    with ExitStack() as open_sessions:
        for _ in range(3):
            open_sessions.enter_context(session(database))
        found = PostgresTools().reach(Secret(database["host"]), database["user"], 5.0)
    assert found.version.partition(".")[0].isdigit()
    assert found.connections.mine == 3
    assert found.connections.limit == int(world.query("SHOW max_connections"))
    assert found.connections.reserved >= 3 and found.connections.used >= 3
    assert found.connections.my_limit is None
    assert found.bytes is not None and found.bytes > 1 << 20


def test_limits_of_role_and_database_count(world: World, database: DatabaseUrls) -> None:
    world.query(f'ALTER ROLE "{database["user"]}" CONNECTION LIMIT 7')
    world.query(f'ALTER DATABASE "{database["name"]}" CONNECTION LIMIT 5')
    found = PostgresTools().reach(Secret(database["host"]), database["user"], 5.0)
    assert (found.connections.my_limit, found.connections.free) == (5, 5)


def test_a_role_is_a_value_and_never_sql(database: DatabaseUrls) -> None:
    found = PostgresTools().reach(Secret(database["host"]), "x'; DROP TABLE y; --`id`", 5.0)
    assert found.connections.mine == 0


def test_wrong_password(database: DatabaseUrls) -> None:
    error = refused(database["host"].replace(database["password"], "wrong-hidden"))
    assert "password authentication failed" in error.message and "wrong-hidden" not in repr(vars(error))
    assert "password" in str(error.hint)


def test_nothing_listens(database: DatabaseUrls, world: World) -> None:
    error = refused(database["host"].replace(f":{world.postgres.port}/", ":1/"))
    assert "127.0.0.1:1" in error.message and "refused" in error.message
    assert "listen_addresses" in str(error.hint)


def test_no_such_database(database: DatabaseUrls) -> None:
    error = refused(database["host"].rpartition("/")[0] + "/nowhere")
    assert 'database "nowhere" does not exist' in error.message


def test_no_connections_left(world: World, database: DatabaseUrls) -> None:
    world.query(f'ALTER ROLE "{database["user"]}" CONNECTION LIMIT 1')
    with session(database):
        error = refused(database["host"])
    assert "too many connections" in error.message and "close idle sessions" in str(error.hint)


def test_a_black_hole_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        error = refused(f"postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/d", 1.0)
        assert time.monotonic() - began < 6
    assert "did not answer within 1 s" in error.message


def test_no_url(database: DatabaseUrls) -> None:
    assert "not of the form" in refused("mysql://u:hidden@h/d").message


class session:
    """A session of the application that stays open for as long as the block runs."""

    def __init__(self, database: DatabaseUrls) -> None:
        self._environment = environment(Secret(database["host"]))

    def __enter__(self) -> None:
        env = self._environment.__enter__()
        argv = [find_tool("psql"), "-X", "-q", "-w", "-At"]
        self._process = Popen(argv, env=env, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, text=True)
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write("SELECT 'here';\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "here\n"

    def __exit__(self, *_: object) -> None:
        self._process.communicate("")
        self._environment.__exit__(None, None, None)
