"""The state store: SQLAlchemy Core on an SQLite file.

`open_store` writes, and creates or upgrades the file when it must; `open_reader` only reads and leaves no
trace.
"""

from backstay.adapters.store.reader import SqlReader, open_reader
from backstay.adapters.store.writer import SqlStore, open_store

__all__ = ["SqlReader", "SqlStore", "open_reader", "open_store"]
