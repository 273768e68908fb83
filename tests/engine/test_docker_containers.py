"""What is Docker's own: volumes, memory, restarts, the name of the host, log settings, failed starts."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from backstay.domain.secret import Secret
from backstay.errors import EngineError
from backstay.ports.engine import Container
from tests.engine.bench import Bench, until
from tests.world import World

pytestmark = pytest.mark.world


def raw(world: World, container: Container) -> dict[str, Any]:
    """Everything the engine knows of a container."""
    found: list[dict[str, Any]] = json.loads(world.docker("inspect", container.id))
    return found[0]


def ended(bench: Bench, container: Container) -> Container:
    bench.engine.wait(container.id, 30)
    found = bench.engine.inspect(container.id)
    assert found is not None
    return found


def test_settings_reach_the_engine(docker_bench: Bench, world: World) -> None:
    web = raw(world, docker_bench.engine.run(docker_bench.server("web", memory=64 << 20)))
    config = web["HostConfig"]
    assert config["RestartPolicy"]["Name"] == "unless-stopped"
    assert config["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
    assert (config["Memory"], config["MemorySwap"]) == (64 << 20, 64 << 20)
    assert config["ExtraHosts"] == ["host.docker.internal:host-gateway"]
    assert [b["HostIp"] for b in config["PortBindings"]["8000/tcp"]] == ["127.0.0.1"]
    assert list(web["NetworkSettings"]["Networks"]) == [docker_bench.network]
    once = raw(world, docker_bench.engine.run(docker_bench.spec("once", "pass", restarts=False)))
    assert once["HostConfig"]["RestartPolicy"]["Name"] == "no"


def test_host_is_known_by_name(docker_bench: Bench) -> None:
    script = "import socket; print(socket.gethostbyname('host.docker.internal'))"
    container = docker_bench.engine.run(docker_bench.spec("name", script, restarts=False))
    assert ended(docker_bench, container).exit_code == 0
    assert docker_bench.engine.logs(container.id, 1)[0].count(".") == 3


def test_named_volume_keeps_data_and_has_our_labels(docker_bench: Bench, world: World) -> None:
    volume = f"{docker_bench.prefix}-data"
    write = docker_bench.spec(
        "write", "open('/d/x','w').write('kept')", volumes=(f"{volume}:/d",), restarts=False
    )
    read = docker_bench.spec(
        "read",
        "print(open('/d/x').read()); open('/d/y','w')",
        volumes=(f"{volume}:/d:ro",),
        restarts=False,
    )
    assert ended(docker_bench, docker_bench.engine.run(write)).exit_code == 0
    reader = ended(docker_bench, docker_bench.engine.run(read))
    assert reader.exit_code == 1
    lines = docker_bench.engine.logs(reader.id, 50)
    assert lines[0] == "kept" or "kept" in lines
    assert any("Read-only file system" in line for line in lines)
    labels = json.loads(world.docker("volume", "inspect", "--format", "{{json .Labels}}", volume))
    assert labels == docker_bench.labels
    docker_bench.engine.remove(reader.id)
    assert volume in world.docker("volume", "ls", "-q").split()


def test_folder_of_the_host(docker_bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "word").write_text("from the host")
    spec = docker_bench.spec(
        "bind", "print(open('/d/word').read())", volumes=(f"{tmp_path}:/d:ro",), restarts=False
    )
    container = ended(docker_bench, docker_bench.engine.run(spec))
    assert docker_bench.engine.logs(container.id, 1) == ["from the host"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"volumes": ("/no/such/folder:/d",)}, "bind source path does not exist"),
        ({"volumes": ("data",)}, "not of the form name:/path"),
        ({"volumes": ("data:/d:rx",)}, "not of the form name:/path"),
        ({"command": ("no-such-program",)}, "executable file not found"),
        ({"image": "backstay/none:none"}, "No such image"),
        ({"network": "no-such-network"}, "not found"),
    ],
)
def test_what_cannot_start_is_an_error_and_leaves_no_container(
    docker_bench: Bench, changes: dict[str, Any], says: str
) -> None:
    spec = docker_bench.server("bad", **changes)
    with pytest.raises(EngineError, match=says):
        docker_bench.engine.run(spec)
    assert docker_bench.engine.inspect(spec.name) is None


def test_memory_limit_kills_and_is_seen(docker_bench: Bench) -> None:
    script = "x = [bytearray(1 << 20) for _ in range(400)]; print(len(x))"
    spec = docker_bench.spec("hungry", script, memory=32 << 20, restarts=False)
    container = ended(docker_bench, docker_bench.engine.run(spec))
    assert container.exit_code == 137
    assert container.oom_killed


def test_restarts_are_counted(docker_bench: Bench) -> None:
    container = docker_bench.engine.run(docker_bench.spec("crash", "raise SystemExit(1)"))

    def restarted() -> bool:
        found = docker_bench.engine.inspect(container.id)
        return found is not None and found.restarts >= 2

    until(restarted, "two restarts", 60)
    docker_bench.engine.stop(container.id, 1)
    until(
        lambda: (f := docker_bench.engine.inspect(container.id)) is not None and not f.restarting, "its end"
    )


def test_created_but_never_started_is_adopted_and_started(docker_bench: Bench, world: World) -> None:
    spec = docker_bench.spec("half", "print('ran')", restarts=False)
    labels = [word for name, value in spec.labels.items() for word in ("--label", f"{name}={value}")]
    head = ["create", "--name", spec.name, "--network", spec.network, *labels]
    made = world.docker(*head, spec.image, *spec.command).strip()
    assert docker_bench.engine.wait(made, 0.2) is None
    container = docker_bench.engine.run(spec)
    assert container.id == made
    assert docker_bench.engine.wait(container.id, 20) == 0


def test_a_stranger_of_the_same_name_is_left_alone(docker_bench: Bench, world: World) -> None:
    name = f"{docker_bench.prefix}-web"
    stranger = world.docker("create", "--name", name, world.base_image, "true").strip()
    try:
        with pytest.raises(EngineError, match="was left alone"):
            docker_bench.engine.run(docker_bench.server("web"))
        assert docker_bench.engine.inspect(stranger) is not None
    finally:
        world.docker("rm", stranger)


def test_secrets_are_in_the_environment_only(docker_bench: Bench, world: World) -> None:
    word = secrets.token_hex(12)
    container = docker_bench.engine.run(docker_bench.server("web", secrets={"KEY": Secret(word)}))
    found = raw(world, container)
    assert f"KEY={word}" in found["Config"].pop("Env")
    assert word not in json.dumps(found)


def test_a_network_in_use_is_not_removed(docker_bench: Bench) -> None:
    docker_bench.engine.run(docker_bench.server("web"))
    with pytest.raises(EngineError, match="has active endpoints") as caught:
        docker_bench.engine.remove_network(docker_bench.network, docker_bench.labels)
    assert caught.value.hint


def test_networks_without_gateway_are_refused(docker_bench: Bench) -> None:
    with pytest.raises(EngineError, match="no IPv4 gateway"):
        docker_bench.engine.network("host", create=False, labels={})


def test_gateway_is_inside_the_container_network(docker_bench: Bench) -> None:
    gateway = docker_bench.engine.network(docker_bench.network, create=False, labels={}).gateway
    script = "import struct,socket\nfor line in open('/proc/net/route'):\n    f = line.split()\n"
    script += "    if f[1] == '00000000': print(socket.inet_ntoa(struct.pack('<L', int(f[2], 16))))"
    container = docker_bench.engine.run(docker_bench.spec("route", script, restarts=False))
    docker_bench.engine.wait(container.id, 20)
    assert docker_bench.engine.logs(container.id, 5) == [gateway]
