"""A real world to deploy to (container engine, registry, PostgreSQL), started and removed by script."""

from tests.world.errors import WorldError, WorldMissing
from tests.world.postgres import DatabaseUrls
from tests.world.world import World

__all__ = ["DatabaseUrls", "World", "WorldError", "WorldMissing"]
