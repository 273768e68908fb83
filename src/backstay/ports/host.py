"""The machine this process runs on: who we are, and whether another process still is."""

from __future__ import annotations

from typing import Protocol

from backstay.domain.lease import Owner, Presence


class Host(Protocol):
    def owner(self) -> Owner:
        """This process, as a lease owner."""

    def presence(self, owner: Owner) -> Presence:
        """Whether `owner` still runs. UNKNOWN for a process of another host and for a person."""

    def end(self, owner: Owner) -> None:
        """Kill a process of this host and return once it is seen dead. Raises BackstayError when it will not die."""
