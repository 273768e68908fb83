"""A database URL as environment and passfile, so that no password is ever an argument."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import SplitResult, unquote, urlsplit

from backstay.domain.secret import Secret
from backstay.ports.database import MalformedUrl

DEFAULT_PORT = 5432
SCHEMES = ("postgresql", "postgres")
QUERY_VARIABLES: Mapping[str, str] = {
    "user": "PGUSER",
    "passfile": "PGPASSFILE",
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "options": "PGOPTIONS",
    "application_name": "PGAPPNAME",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "load_balance_hosts": "PGLOADBALANCEHOSTS",
    "channel_binding": "PGCHANNELBINDING",
    "require_auth": "PGREQUIREAUTH",
    "requirepeer": "PGREQUIREPEER",
    "sslmode": "PGSSLMODE",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "sslcompression": "PGSSLCOMPRESSION",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcertmode": "PGSSLCERTMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "sslcrldir": "PGSSLCRLDIR",
    "sslsni": "PGSSLSNI",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "gssencmode": "PGGSSENCMODE",
    "gssdelegation": "PGGSSDELEGATION",
    "gsslib": "PGGSSLIB",
    "krbsrvname": "PGKRBSRVNAME",
}
"""What the query of a URL may say, and the variable that says the same (libpq, "Environment Variables")."""

NOT_HANDED_ON = frozenset({"dbname", "service", "servicefile", "sslpassword", "replication", "requiressl"})
"""What libpq would heed but its tools cannot be told: without it they might go elsewhere, or by a less safe way."""

HARMLESS = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR"})
"""Variables that are passed on even where a very short password happens to be part of them."""


@contextmanager
def environment(url: Secret) -> Iterator[dict[str, str]]:
    """The libpq environment for `url`; its passfile can be read by our user alone, for as long as the block runs.

    Raises MalformedUrl when the URL is not a PostgreSQL URL with a database name.
    """
    parts, port = _split(url.reveal())
    name, query = unquote(parts.path.lstrip("/")), _query(parts)
    secret = query.pop("password", unquote(parts.password or ""))
    env = _inherited(parts, secret)
    env |= {"PGPORT": str(port), "PGDATABASE": name, "PGCONNECT_TIMEOUT": "10", "PGAPPNAME": "backstay"}
    if parts.hostname:
        env["PGHOST"] = _host(parts)
    if parts.username:
        env["PGUSER"] = unquote(parts.username)
    env |= {QUERY_VARIABLES[key]: value for key, value in query.items()}
    if not secret:
        yield env
        return
    with _passfile(secret) as path:
        yield env | {"PGPASSFILE": path}


def _query(parts: SplitResult) -> dict[str, str]:
    """What stands after the "?" and is a key of QUERY_VARIABLES or `password`; a "+" is one (libpq, "Connection URIs").

    What only an application's driver knows, such as a pool's size, is left out. MalformedUrl that names one of
    NOT_HANDED_ON.
    """
    found: dict[str, str] = {}
    for written in filter(None, parts.query.split("&")):
        key, _, value = (unquote(part) for part in written.partition("="))
        if (key, value) == ("ssl", "true"):
            key, value = "sslmode", "require"
        if key in NOT_HANDED_ON:
            raise MalformedUrl(
                f"the database URL says {key!r}, which cannot be handed on to PostgreSQL's tools",
                hint="leave it out of the secret, or name another one by database.backup_url_secret",
            )
        if key == "password" or key in QUERY_VARIABLES:
            found[key] = value
    return found


@contextmanager
def _passfile(written: str) -> Iterator[str]:
    """A passfile in memory, which ends with us: one on a disk would outlive a kill -9, and the password in it.

    Its path leads through our own handle, so the tools that we start need not inherit it. libpq wants a regular
    file that nobody else may read (libpq, "The Password File"); memfd_create(2) makes one.
    """
    handle = os.memfd_create("passfile")
    try:
        os.fchmod(handle, 0o600)
        os.write(handle, f"*:*:*:*:{_escaped(written)}\n".encode())
        yield f"/proc/{os.getpid()}/fd/{handle}"
    finally:
        os.close(handle)


def password(url: Secret) -> Secret:
    """The password in `url`, to take it out of messages; an empty one when there is none."""
    parts, _ = _split(url.reveal())
    return Secret(_query(parts).get("password", unquote(parts.password or "")))


def conninfo(database: str) -> str:
    """A database's name as an argument of the tools, which take one with a "=" in it for a whole connection string."""
    escaped = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


def is_of_this_machine(host: str) -> bool:
    """Whether a host name or address is one of ours: only then may a socket be bound to it."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)
    except OSError:
        return False
    for family, kind, _, _, address in found:
        with socket.socket(family, kind) as trial:
            try:
                trial.bind(address)
            except OSError:
                continue
            return True
    return False


def _inherited(parts: SplitResult, secret: str) -> dict[str, str]:
    """Our own environment without what would lead elsewhere, and without any variable that holds the password."""
    in_query = {word.partition("=")[2] for word in parts.query.split("&") if word.startswith("password=")}
    hidden = {word for word in (parts.password, secret, *in_query) if word}
    return {
        key: value
        for key, value in os.environ.items()
        if key in HARMLESS
        or (not key.startswith(("PG", "BACKSTAY_")) and not any(word in value for word in hidden))
    }


def _split(url: str) -> tuple[SplitResult, int]:
    """The parts of a PostgreSQL URL and its port; MalformedUrl, which never shows the URL, when it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORT
    except ValueError:
        parts, port = SplitResult("", "", "", "", ""), 0
    if parts.scheme.partition("+")[0] not in SCHEMES or not parts.path.lstrip("/") or not port:
        raise MalformedUrl(
            "the database URL is not of the form postgresql://USER:PASSWORD@HOST:PORT/NAME",
            hint="mend the secret that database.backup_url_secret (or url_secret) names",
        )
    return parts, port


def _host(parts: SplitResult) -> str:
    """The host; a socket folder is written percent-encoded, and its case counts (libpq, "Connection URIs")."""
    written = parts.netloc.rpartition("@")[2].partition(":")[0]
    return unquote(written) if "%2f" in written.lower() else parts.hostname or ""


def _escaped(password: str) -> str:
    """A password as a passfile field: backslash and colon escaped (libpq, "The Password File")."""
    return password.replace("\\", "\\\\").replace(":", "\\:")
