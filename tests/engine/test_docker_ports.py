"""Ports that somebody takes between our look and the engine's bind."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from backstay.adapters import loopback
from backstay.errors import EngineError
from tests.engine.bench import Bench, until
from tests.world import World

pytestmark = pytest.mark.world


@pytest.fixture
def taken() -> Iterator[int]:
    """A loopback port somebody listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make one port look free although it is taken, and be tried first: what losing a race looks like."""
    honest = loopback.is_free

    def arrange(port: int) -> None:
        monkeypatch.setattr(loopback, "is_free", lambda each: each == port or honest(each))
        monkeypatch.setattr(
            random, "shuffle", lambda candidates: candidates.sort(key=lambda each: each != port)
        )

    return arrange


def test_another_port_is_tried(docker_bench: Bench, taken: int, blind: Callable[[int], None]) -> None:
    blind(taken)
    container = docker_bench.engine.run(docker_bench.server("web", port_range=(taken, taken + 40)))
    assert container.running
    assert container.port != taken
    assert [found.id for found in docker_bench.engine.find(docker_bench.labels)] == [container.id]


def test_tries_come_to_an_end(docker_bench: Bench, taken: int, blind: Callable[[int], None]) -> None:
    blind(taken)
    with pytest.raises(EngineError, match="1 were taken by somebody else"):
        docker_bench.engine.run(docker_bench.server("web", port_range=(taken, taken)))
    assert docker_bench.engine.find(docker_bench.labels) == []


def test_a_half_made_container_whose_port_is_gone_gets_another(
    docker_bench: Bench, world: World, taken: int
) -> None:
    """An earlier attempt died between create and start."""
    spec = docker_bench.server("web")
    labels = {**spec.labels, "backstay.port": str(taken)}
    words = [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]
    publish = ("--publish", f"127.0.0.1:{taken}:8000")
    half = world.docker("create", "--name", spec.name, *publish, *words, spec.image, "true").strip()
    container = docker_bench.engine.run(spec)
    assert container.running
    assert container.id != half
    assert container.port != taken


def test_a_stopped_container_whose_port_is_gone_is_an_error_and_stays(docker_bench: Bench) -> None:
    spec = docker_bench.server("web")
    container = docker_bench.engine.run(spec)
    docker_bench.engine.stop(container.id, 0)
    until(lambda: loopback.is_free(container.port or 0), "its port, which the engine lets go a moment later")
    with (
        closing(socket.create_server(("127.0.0.1", container.port or 0))),
        pytest.raises(EngineError, match="already"),
    ):
        docker_bench.engine.run(spec)
    found = docker_bench.engine.inspect(container.id)
    assert found is not None
    assert found.port == container.port


def test_port_is_published_on_loopback_only(docker_bench: Bench) -> None:
    """A plain process listens where it wants, so this is a promise of Docker alone."""
    container = docker_bench.engine.run(docker_bench.server("web"))
    assert container.port is not None
    until(lambda: _listens("127.0.0.1", container.port), "an answer")
    gateway = docker_bench.engine.network(docker_bench.network, create=False, labels={}).gateway
    assert not _listens(gateway, container.port)


def _listens(host: str, port: int | None) -> bool:
    with closing(socket.socket()) as probe:
        probe.settimeout(2)
        return probe.connect_ex((host, port)) == 0
