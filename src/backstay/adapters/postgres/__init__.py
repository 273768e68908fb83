"""PostgreSQL through its own tools."""

from backstay.adapters.postgres.cluster import PostgresClusters
from backstay.adapters.postgres.database import PostgresTools

__all__ = ["PostgresClusters", "PostgresTools"]
