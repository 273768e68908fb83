"""Turns a `postgresql://` URL into Django's database settings."""

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

CONNECT_TIMEOUT_S = 3
POOL_WAIT_S = 3.0
# A connection whose peer vanished without a word is given up after this time.
UNANSWERED_MS = 5000


class InvalidDatabaseUrl(ValueError):
    """The URL cannot name a PostgreSQL database. The message never repeats the URL: it holds a password."""


def database_settings(url: str, pool_size: int = 0) -> dict[str, Any]:
    """Settings for `DATABASES["default"]`; query parameters of the URL are passed on to libpq.

    With `pool_size` > 0 each process shares up to that many connections. Commands that run once go without:
    a pool would answer "no connection in time" where a direct connection names the real reason.

    Raises `InvalidDatabaseUrl` when the scheme, the database name or the port is not usable.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres"):
        raise InvalidDatabaseUrl("DATABASE_URL must start with postgresql://")
    name = unquote(parts.path.removeprefix("/"))
    if not name:
        raise InvalidDatabaseUrl("DATABASE_URL names no database")
    try:
        port = parts.port
    except ValueError:
        raise InvalidDatabaseUrl("DATABASE_URL has a port that is not a number from 0 to 65535") from None
    options: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "tcp_user_timeout": UNANSWERED_MS,
        **dict(parse_qsl(parts.query)),
    }
    if pool_size > 0:
        options["pool"] = {"min_size": 1, "max_size": pool_size, "timeout": POOL_WAIT_S}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(port or ""),
        "OPTIONS": options,
        # The pool tests a connection before it hands it out, so a restarted database costs no failed request.
        "CONN_HEALTH_CHECKS": True,
    }
