"""The moments at which a process can die: before, after and in the middle of whatever it does to the world."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import Any

from backstay.ports.store import Reader, Store

WRITES = frozenset(name for name in vars(Store) if not name.startswith("_")) - set(vars(Reader)) - {"close"}
"""What a store is asked to change; its questions leave the world as it is."""


class Moments:
    """Calls `at` at every moment, with what was about to happen, had half happened, or had happened.

    `at` sees the world exactly as a kill -9 at that moment would leave it. It may keep a copy of it, or raise. Calls
    from several threads take turns, so that the world stands still while it is looked at.
    """

    def __init__(self, at: Callable[[str], None]) -> None:
        self.at = at
        self._turn = threading.RLock()

    def of(self, port: Any, name: str, acts: Collection[str] | None = None) -> Any:
        """`port`, watched; only its methods in `acts` when given. A double also tells what happens in between."""
        if hasattr(port, "half_way"):
            port.half_way = self._tell
        return _Watched(port, name, acts, self)

    def _tell(self, what: str) -> None:
        with self._turn:
            self.at(what)

    def around(self, what: str, act: Callable[[], Any]) -> Any:
        """Do `act` with a moment before it and one after it, also when it fails."""
        with self._turn:
            self.at(f"before {what}")
            try:
                return act()
            finally:
                self.at(f"after {what}")


class _Watched:
    """A port whose every method is surrounded by moments."""

    def __init__(self, port: Any, name: str, acts: Collection[str] | None, moments: Moments) -> None:
        self._port = port
        self._name = name
        self._acts = acts
        self._moments = moments

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not callable(found) or (self._acts is not None and name not in self._acts):
            return found

        def watched(*args: Any, **kwargs: Any) -> Any:
            return self._moments.around(f"{self._name}.{name}", lambda: found(*args, **kwargs))

        return watched
