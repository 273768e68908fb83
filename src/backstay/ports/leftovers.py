"""What processes of ours that died left in the state folder, beside what the other ports know of."""

from __future__ import annotations

from typing import Protocol


class Leftovers(Protocol):
    def sweep(self) -> list[str]:
        """Remove files whose writer is dead: temporary ones, and logs with nothing in them. Returns their paths.

        What cannot be told, or not be removed, stays; nothing is raised for it.
        """


class NoLeftovers:
    """Where nothing is kept, nothing is left."""

    def sweep(self) -> list[str]:
        return []
