"""PostgreSQL through its own tools."""

from backstay.adapters.postgres.dump import PostgresTools

__all__ = ["PostgresTools"]
