"""The state store: SQLAlchemy Core on an SQLite file or a PostgreSQL server.

`open_store` writes, and creates or upgrades it when it must; `open_reader` only reads and leaves no
trace. Each is imported when it is first asked for: reading needs no SQLAlchemy, which takes long to load.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backstay.adapters.store.opening import open_store
    from backstay.adapters.store.reader import SqlReader, open_reader
    from backstay.adapters.store.writer import SqlStore

__all__ = ["SqlReader", "SqlStore", "open_reader", "open_store"]

_HOMES = {"SqlReader": "reader", "open_reader": "reader", "SqlStore": "writer", "open_store": "opening"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
