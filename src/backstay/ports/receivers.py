"""Receivers: where notifications go."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from backstay.domain.notification import Delivery, Notification


class Receivers(Protocol):
    """The file log and the receivers whose addresses are known here."""

    @property
    def targets(self) -> Collection[str]:
        """The fingerprints of those that can be reached from here; the file log's is empty."""

    def deliver(self, notification: Notification) -> Delivery:
        """Hand one over, within the attempt's deadline. Never raises; its error text has no secret in it."""
