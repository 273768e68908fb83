"""The world itself: brought up beside any other one, broken on purpose, and removed without a trace."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world import World, WorldMissing, images, processes

pytestmark = pytest.mark.world


@pytest.fixture(scope="module")
def own_folder() -> Iterator[None]:
    """A folder for a second world, so that the test run's world is not touched."""
    parent = Path(tempfile.mkdtemp(prefix="bsw-"))
    parent.chmod(0o711)  # the database server's user must pass through
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BACKSTAY_WORLD", str(parent / "w"))
        yield
        World.down()
    shutil.rmtree(parent)


@pytest.fixture
def own_world(own_folder: None) -> World:
    """That second world, started anew when the test before this one broke or removed it."""
    return World.up()


def _traces(world: World) -> list[str]:
    links = [entry.name for entry in Path("/sys/class/net").iterdir()]
    mounts = Path("/proc/self/mountinfo").read_text()
    return [
        *(f"process {mark.pid}" for mark in processes.marked(world.state.marker)),
        *(f"link {name}" for name in links if name == world.network.bridge),
        *([str(world.layout.folder)] if world.layout.folder.exists() else []),
        *(["mount"] if str(world.layout.folder) in mounts else []),
    ]


def _serve(world: World) -> int:
    """Start a container behind a published port and return the port."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = int(held.getsockname()[1])
    command = ("python3", "-m", "http.server", "8000")
    name = f"traces-{port}"
    world.docker("network", "create", name)
    options = ("--name", name, "--network", name, "--restart", "always", "-p", f"127.0.0.1:{port}:8000")
    world.docker("run", "-d", *options, world.base_image, *command)
    assert processes.wait_until(lambda: _answers(port), 60)
    return port


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return connection.recv(12).startswith(b"HTTP/1.0 200")
    except OSError:
        return False


def test_a_database_is_reached_from_host_and_container_and_leaves_with_its_role(own_world: World) -> None:
    urls = own_world.create_database("mine")
    own_world.query("CREATE TABLE t AS SELECT 42 AS n", "mine")
    again = own_world.create_database("mine")
    assert own_world.query("SELECT count(*) FROM pg_tables WHERE tablename = 't'", "mine").strip() == "0"
    assert urls["password"] != again["password"]
    probe = f"import socket; socket.create_connection(('host.docker.internal', {own_world.postgres.port}), 5)"
    options = ("--rm", "--add-host", "host.docker.internal:host-gateway")
    own_world.docker("run", *options, own_world.base_image, "python3", "-c", probe)
    own_world.drop_database("mine")
    assert own_world.query("SELECT count(*) FROM pg_roles WHERE rolname = 'mine'").strip() == "0"


def test_an_image_is_built_pushed_and_pulled_by_its_digest(own_world: World, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "ARG BASE\nFROM ${BASE}\nARG VERSION\nRUN echo ${VERSION} > /version\n"
    )
    made = {
        version: images.build(
            own_world, tmp_path, f"probe:{version}", {"BASE": own_world.base_image, "VERSION": version}
        )
        for version in ("v1", "v2")
    }
    assert made["v1"].digest != made["v2"].digest
    own_world.docker("image", "rm", made["v1"].by_tag)
    own_world.docker("pull", made["v1"].by_digest)
    assert own_world.docker("run", "--rm", made["v1"].by_digest, "cat", "/version") == "v1\n"


def test_containers_outlive_a_killed_daemon(own_world: World) -> None:
    port = _serve(own_world)
    before = own_world.docker("inspect", "-f", "{{.State.Pid}}", f"traces-{port}")
    own_world.restart_dockerd()
    assert own_world.docker("inspect", "-f", "{{.State.Pid}}", f"traces-{port}") == before
    assert processes.wait_until(lambda: _answers(port), 30)


def test_after_a_crash_the_old_world_is_cleared_and_a_new_one_starts(own_world: World) -> None:
    _serve(own_world)
    for mark in own_world.state.processes.values():
        os.kill(mark.pid, signal.SIGKILL)
    assert processes.wait_until(lambda: not any(map(processes.alive, own_world.state.processes.values())), 10)
    with pytest.raises(WorldMissing, match="dockerd has ended"):
        World.current()
    fresh = World.up()
    assert fresh.state.world_id != own_world.state.world_id
    assert fresh.docker("ps", "-aq") == ""
    assert [trace for trace in _traces(own_world) if trace.startswith("process")] == []


def test_down_leaves_nothing(own_world: World) -> None:
    port = _serve(own_world)
    assert World.up().state.world_id == own_world.state.world_id  # idempotent
    assert World.down()
    assert _traces(own_world) == []
    assert not _answers(port)
    with pytest.raises(WorldMissing):
        World.current()
    assert not World.down()
