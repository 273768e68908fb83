"""What can go wrong in the test world, said so that a person can act on it."""

from __future__ import annotations


class WorldError(Exception):
    """The test world cannot be built, asked or removed."""


class WorldMissing(WorldError):
    """No test world is running in the folder that was asked."""
