"""Internal networks: reached from this host and by nobody else, with no way out but this host."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from backstay.ports.engine import Network
from tests.engine.bench import Bench, until
from tests.engine.test_contract import seen
from tests.world import World

pytestmark = pytest.mark.world

REACH = """
import socket, sys
for host, port in zip(sys.argv[1::2], sys.argv[2::2]):
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
        print("reached")
    except OSError as error:
        print("no:", type(error).__name__)
"""


@pytest.fixture
def inside(docker_bench: Bench) -> Iterator[Network]:
    name = f"{docker_bench.prefix}-in"
    yield docker_bench.engine.network(name, create=True, labels=docker_bench.labels, internal=True)
    for container in docker_bench.engine.find(docker_bench.labels):
        docker_bench.engine.remove(container.id)
    docker_bench.engine.remove_network(name, docker_bench.labels)


def test_an_internal_network_leads_to_this_host_and_nowhere_else(
    docker_bench: Bench, inside: Network, world: World
) -> None:
    assert inside.internal
    with closing(socket.create_server((inside.gateway, 0))) as here:
        wanted = [
            (inside.gateway, here.getsockname()[1]),
            (world.network.gateway, world.postgres.port),  # the live database, on the other bridge's gateway
            ("host.docker.internal", world.postgres.port),
            ("192.0.2.1", 80),  # the world outside
        ]
        spec = docker_bench.spec("reach", REACH, restarts=False, network=inside.name)
        words = [str(word) for pair in wanted for word in pair]
        container = docker_bench.engine.run(replace(spec, command=(*spec.command, *words)))
        assert docker_bench.engine.wait(container.id, 30) == 0
    said = docker_bench.engine.logs(container.id, 10)
    assert said[0] == "reached"
    assert [line.partition(":")[0] for line in said[1:]] == ["no", "no", "no"]


def test_its_containers_are_reached_at_their_own_address(docker_bench: Bench, inside: Network) -> None:
    made = docker_bench.engine.run(docker_bench.server("web", network=inside.name, published=None))

    def reached() -> bool:
        try:
            socket.create_connection((seen(docker_bench, made).address, 8000), timeout=2).close()
        except OSError:
            return False
        return True

    until(reached, "the container at its own address")
    docker_bench.engine.stop(made.id, 0)
    assert seen(docker_bench, made).address == ""
