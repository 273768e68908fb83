"""Against an engine that hangs, trickles, stalls or breaks, each call ends in time and nothing stays open."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from backstay.adapters.docker import DockerEngine
from backstay.errors import EngineError, RegistryError
from backstay.ports.engine import ContainerSpec
from tests.engine import fakes
from tests.world import World

DIGEST = "sha256:" + "ab" * 32
SPEC = ContainerSpec("web", "image", "net", {"backstay.app": "x"}, published=8000)
Call = Callable[[DockerEngine], object]
SOON_S = 5.0
"""Long after the deadlines here, and long before an engine here would say anything, or a call be given up unasked."""

CALLS: dict[str, Call] = {
    "digest": lambda engine: engine.digest("127.0.0.1:5000/app", "v1", None),
    "pull": lambda engine: engine.pull("127.0.0.1:5000/app", "v1", DIGEST, None),
    "network": lambda engine: engine.network("net", True, {}),
    "run": lambda engine: engine.run(SPEC),
    "inspect": lambda engine: engine.inspect("web"),
    "find": lambda engine: engine.find({"a": "b"}),
    "wait": lambda engine: engine.wait("web", 0.1),
    "stop": lambda engine: engine.stop("web", 0.2),
    "remove": lambda engine: engine.remove("web"),
    "logs": lambda engine: engine.logs("web", 5),
    "remove_network": lambda engine: engine.remove_network("net", {"a": "b"}),
}


def open_files() -> int:
    """How many descriptors this process holds: before a fake engine starts, and after it has ended."""
    return len(list(Path("/proc/self/fd").iterdir()))


def took(
    engine: DockerEngine, call: Call, kind: type[EngineError] = EngineError
) -> tuple[float, EngineError]:
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        call(engine)
    return time.monotonic() - began, caught.value


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("conduct", [fakes.silent, fakes.trickling])
def test_every_call_ends_at_its_deadline(tmp_path: Path, name: str, conduct: fakes.Conduct) -> None:
    before = open_files()
    with fakes.engine(tmp_path, conduct) as host:
        seconds, error = took(DockerEngine(host, call_s=0.4, pull_s=0.4), CALLS[name])
        assert seconds < SOON_S
        assert "did not answer within" in error.message
        assert error.hint
    assert open_files() <= before


def test_a_socket_that_nobody_accepts_on_is_given_up(tmp_path: Path) -> None:
    with fakes.engine(tmp_path, fakes.silent) as host:
        pass
    seconds, error = took(DockerEngine(host, call_s=0.4), lambda engine: engine.info())
    assert seconds < SOON_S
    assert "no Docker engine answers" in error.message


@pytest.mark.parametrize("conduct", [fakes.stalling_pull, fakes.chatting_pull])
def test_a_pull_ends_in_the_middle_of_its_stream(tmp_path: Path, conduct: fakes.Conduct) -> None:
    before = open_files()
    with fakes.engine(tmp_path, conduct) as host:
        seconds, error = took(DockerEngine(host, pull_s=0.6), CALLS["pull"], RegistryError)
        assert seconds < SOON_S
        # The engine still tells its version, so the registry is to blame.
        assert "registry 127.0.0.1:5000 did not answer within 0.6 s" in error.message
    assert open_files() <= before


def test_a_broken_answer_is_an_engine_error(tmp_path: Path) -> None:
    with fakes.engine(tmp_path, fakes.breaking) as host:
        _, error = took(DockerEngine(host), CALLS["inspect"])
    assert "broke" in error.message


def test_no_engine_at_all(tmp_path: Path) -> None:
    _, error = took(DockerEngine(f"unix://{tmp_path}/none.sock"), lambda engine: engine.info())
    assert f"no Docker engine answers at {tmp_path}/none.sock" in error.message
    assert "DOCKER_HOST" in (error.hint or "")


@pytest.mark.parametrize("host", ["tcp://127.0.0.1:2375", "ssh://root@host", "unix://relative", "nonsense"])
def test_engines_elsewhere_are_refused(host: str) -> None:
    with pytest.raises(EngineError, match="must be on this host"):
        DockerEngine(host)


def test_docker_host_of_the_environment_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/from-environment.sock")
    _, error = took(DockerEngine(), lambda engine: engine.info())
    assert "from-environment.sock" in error.message


@pytest.mark.world
def test_a_stopped_daemon_is_given_up_and_then_answers_again(world: World) -> None:
    engine = DockerEngine(world.docker_host, call_s=0.7, pull_s=0.7)
    version = DockerEngine(world.docker_host).info().version
    pid = world.state.processes["dockerd"].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        seconds, error = took(engine, CALLS["find"])
    finally:
        os.kill(pid, signal.SIGCONT)
    assert seconds < SOON_S
    assert "did not answer within 0.7 s" in error.message
    assert DockerEngine(world.docker_host).info().version == version
