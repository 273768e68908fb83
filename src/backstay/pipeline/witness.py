"""Asks the engine beside a watch, which must go on when the engine hangs."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from backstay.errors import EngineError
from backstay.ports.engine import Container, Engine

PATIENCE_S = 0.5
"""How long a look waits for the engine's answer; far longer than an engine that is well needs."""

Answers = Mapping[str, Container]


class Witness:
    """Knows what the engine last told of some containers. One question is under way at a time; when the engine hangs
    its thread is left behind, ends at the engine's own deadline, and nobody waits for it."""

    def __init__(self, engine: Engine, containers: Mapping[str, str]) -> None:
        self._engine = engine
        self._containers = containers
        self._asking: _Asking | None = None

    def look(self) -> Answers:
        """Containers by component, as they are now; none when the engine does not answer at once, or has none.

        What the question raises, apart from an engine's error, comes through.
        """
        asking = self._asking or _Asking(self._engine, self._containers)
        self._asking = asking
        asking.join(PATIENCE_S)
        if asking.is_alive():
            return {}
        self._asking = None
        if asking.raised is not None:
            raise asking.raised
        return asking.answers


class _Asking(threading.Thread):
    """One question, under way from its birth."""

    def __init__(self, engine: Engine, containers: Mapping[str, str]) -> None:
        super().__init__(name="witness", daemon=True)
        self._engine = engine
        self._containers = containers
        self.answers: Answers = {}
        self.raised: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            found = {name: self._engine.inspect(id_) for name, id_ in self._containers.items()}
        except EngineError:
            return  # an engine that does not answer says nothing about the containers
        except BaseException as error:  # noqa: BLE001 - raised again by the one who looks
            self.raised = error
            return
        self.answers = {name: container for name, container in found.items() if container is not None}
