"""An engine that hangs must not stop the watch over a new release."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Final

import pytest

from backstay.domain.deployment import DeploymentState
from backstay.domain.smoke import Answer
from backstay.errors import EngineError, LeaseLost
from backstay.pipeline.witness import Witness
from backstay.ports.engine import Container, ContainerSpec
from backstay.testing import FakeEngine
from tests.pipeline.conftest import Town

SPEC: Final = ContainerSpec("web-1", "image", "net", {"a": "b"})


class Hanging(FakeEngine):
    """Questions about a container wait until `thawed`; those of the main thread are answered."""

    def __init__(self) -> None:
        super().__init__()
        self.thawed = threading.Event()
        self.asked = 0

    def inspect(self, container: str) -> Container | None:
        if threading.current_thread() is not threading.main_thread():
            self.asked += 1
            assert self.thawed.wait(30)
        return super().inspect(container)


@pytest.fixture
def engine() -> Iterator[Hanging]:
    made = Hanging()
    yield made
    made.thawed.set()


def test_what_the_engine_tells_is_told(engine: Hanging) -> None:
    engine.thawed.set()
    made = engine.run(SPEC)
    assert Witness(engine, {"web": made.id, "gone": "f" * 64}).look() == {"web": made}


def test_one_that_hangs_is_asked_once_and_told_when_it_answers(
    engine: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backstay.pipeline.witness.PATIENCE_S", 0.05)
    made = engine.run(SPEC)
    witness = Witness(engine, {"web": made.id})
    began = time.monotonic()
    assert [witness.look() for _ in range(3)] == [{}, {}, {}]
    assert time.monotonic() - began < 5
    assert engine.asked == 1
    engine.thawed.set()
    monkeypatch.setattr("backstay.pipeline.witness.PATIENCE_S", 20)
    assert witness.look() == {"web": made}
    assert witness.look() == {"web": made}
    assert engine.asked == 2


@pytest.mark.parametrize("error", [EngineError("down"), LeaseLost("lost")])
def test_only_an_engines_own_error_is_no_news(engine: Hanging, error: Exception) -> None:
    def raises(container: str) -> Container | None:
        raise error

    engine.inspect = raises  # type: ignore[method-assign]
    witness = Witness(engine, {"web": "1"})
    if isinstance(error, EngineError):
        assert witness.look() == {}
        return
    with pytest.raises(LeaseLost):
        witness.look()


def test_a_release_that_turns_bad_while_the_engine_hangs_is_reversed(town: Town, engine: Hanging) -> None:
    town.engine = engine
    engine.thawed.set()
    town.deploy("v1")
    engine.thawed.clear()
    town.prober.answer = lambda port, path: Answer(503 if _is_sick(town, port) else 200, took_s=0.01)
    began = time.monotonic()
    ended = town.deploy("v2")
    assert (ended.state, ended.reason) == (
        DeploymentState.ROLLED_BACK,
        "frontend failed 3 health probes in a row",
    )
    assert time.monotonic() - began < 20


def _is_sick(town: Town, port: int) -> bool:
    """The new frontend is, in the bake."""
    deployment = town.store.deployment("d2")
    if deployment is None or deployment.state is not DeploymentState.BAKING:
        return False
    born = [c for c in town.engine.containers.values() if c.labels["backstay.deployment"] == "d2"]
    return port in [c.port for c in born if c.labels["backstay.component"] == "frontend"]
