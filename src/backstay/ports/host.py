"""The machine this process runs on: who we are, whether another process still is, and what room there is."""

from __future__ import annotations

from typing import Protocol

from backstay.domain.lease import Owner, Presence
from backstay.domain.room import Memory, Space


class Host(Protocol):
    def owner(self) -> Owner:
        """This process, as a lease owner."""

    def presence(self, owner: Owner) -> Presence:
        """Whether `owner` still runs. UNKNOWN for a process of another host, or whose pids mean nothing here, and for
        a person."""

    def end(self, owner: Owner) -> None:
        """Kill a process of this host and return once it is seen dead; nothing happens when it is gone. Locked when
        it will not die, or is not ours to kill."""

    def space(self, path: str) -> Space | None:
        """The filesystem that holds `path` or, while nothing is there, its nearest folder above; None when we may
        not look."""

    def memory(self) -> Memory:
        """The memory of this machine. Raises BackstayError where the kernel does not tell."""
