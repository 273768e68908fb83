"""The service manager that started us, if one did."""

from __future__ import annotations

from typing import Protocol


class Manager(Protocol):
    """Tells it how we are. Without a manager nothing happens; telling never fails."""

    def ready(self, status: str) -> None:
        """We have begun to look after things."""

    def alive(self, status: str) -> None:
        """A round is done; a manager that hears nothing for too long starts us anew."""

    def stopping(self) -> None:
        """We are ending, on request."""
