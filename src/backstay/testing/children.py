"""Commands that end when told."""

from __future__ import annotations

from collections.abc import Sequence

from backstay.domain.lease import Owner


class FakeChild:
    """`end` ends it. `asked` and `killed` say what it heard."""

    def __init__(self, pid: int, name: str, words: Sequence[str]) -> None:
        self.pid = pid
        self.name = name
        self.words = tuple(words)
        self.status: int | None = None
        self.last = ""
        self.asked = False
        self.killed = False
        self.stubborn = False

    @property
    def owner(self) -> Owner:
        return Owner("ann", "here", self.pid, 1, "boot")

    def end(self, status: int = 0, last: str = "") -> None:
        self.status, self.last = status, last

    def ended(self) -> int | None:
        return self.status

    def said(self) -> str:
        return self.last

    def ask_to_end(self) -> None:
        self.asked = True
        if not self.stubborn and self.status is None:
            self.status = 130

    def kill(self) -> None:
        self.killed = True
        self.status = -9


class FakeChildren:
    """Remembers all that were started."""

    def __init__(self) -> None:
        self.started: list[FakeChild] = []

    def start(self, name: str, words: Sequence[str]) -> FakeChild:
        self.started.append(FakeChild(1000 + len(self.started), name, words))
        return self.started[-1]

    @property
    def running(self) -> list[FakeChild]:
        return [child for child in self.started if child.status is None]
