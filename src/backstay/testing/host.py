"""A machine with as much room as a test gives it."""

from __future__ import annotations

from backstay.domain.lease import Owner, Presence
from backstay.domain.room import Memory, Space
from backstay.errors import BackstayError

GIB = 2**30


class FakeHost:
    """`presences` maps pids to what is known of them (ALIVE otherwise); `spaces` maps the beginning of a path to
    its filesystem, the longest counts, and None is one that we may not look at."""

    def __init__(self) -> None:
        self.presences: dict[int, Presence] = {}
        self.ended: list[Owner] = []
        self.spaces: dict[str, Space | None] = {"/": Space("/", 1, 100 * GIB, 1_000_000)}
        self.of_memory: Memory | None = Memory(16 * GIB, 8 * GIB)

    def owner(self) -> Owner:
        return Owner("ann", "here", 1, 1, "boot")

    def presence(self, owner: Owner) -> Presence:
        return self.presences.get(owner.pid, Presence.ALIVE)

    def end(self, owner: Owner) -> None:
        self.ended.append(owner)
        self.presences[owner.pid] = Presence.GONE

    def space(self, path: str) -> Space | None:
        return self.spaces[max((place for place in self.spaces if path.startswith(place)), key=len)]

    def memory(self) -> Memory:
        if self.of_memory is None:
            raise BackstayError("/proc/meminfo does not tell the memory")
        return self.of_memory
