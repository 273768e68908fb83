"""Where a database is, as its URL says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

DEFAULT_PORT: Final = 5432


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """The parts of a PostgreSQL URL that are no secret. `host` is empty, or begins with /, for a Unix socket."""

    host: str
    port: int
    role: str
    name: str
    wants_tls: bool = False

    @property
    def is_socket(self) -> bool:
        return not self.host or self.host.startswith("/")

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def address_of(url: str) -> DatabaseAddress | None:
    """The address in a PostgreSQL URL, or None when it is none. A password in it goes no further."""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORT
        host = unquote(parts.hostname or "")
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    except ValueError:
        return None
    if parts.scheme.partition("+")[0] not in ("postgresql", "postgres"):
        return None
    return DatabaseAddress(
        host=query.get("host", host),
        port=int(query["port"]) if query.get("port", "").isdigit() else port,
        role=unquote(parts.username or query.get("user", "")),
        name=unquote(parts.path.lstrip("/")),
        wants_tls=query.get("sslmode", "") in ("require", "verify-ca", "verify-full"),
    )
