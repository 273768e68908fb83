"""Which server and database a URL names: kept as a secret, shown without one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from backstay.domain.secret import Secret, redact
from backstay.errors import UsageError

SCHEMES: Final = ("postgresql+psycopg", "postgresql", "postgres")
DEFAULT_PORT: Final = 5432


@dataclass(frozen=True, slots=True)
class Server:
    """A database on a PostgreSQL server. `url` is as libpq reads it; `name` is what messages call it."""

    url: Secret
    name: str
    passwords: tuple[Secret, ...] = ()

    def __str__(self) -> str:
        return self.name

    def without_secrets(self, text: str) -> str:
        """`text` with the password and the URL taken out of it, should a library have put them in."""
        return redact(text, (self.url, *self.passwords))


def server_of(text: str) -> Server:
    """The server that a URL names. UsageError, which shows nothing of the URL, when it is malformed."""
    parts = _split(text)
    query = parse_qs(parts.query)
    where = parts.netloc.rpartition("@")[2] or ",".join(query.get("host", ())) or "this host"
    if parts.hostname and ":" not in where and "%" not in where and "port" not in query:
        where = f"{where}:{DEFAULT_PORT}"
    written = [parts.password, *query.get("password", ()), *query.get("sslpassword", ())]
    passwords = {word: None for word in written if word} | {unquote(word): None for word in written if word}
    url = "postgresql" + text[text.index("://") :]
    return Server(
        Secret(url), f"{unquote(parts.path[1:])} at {unquote(where)}", tuple(map(Secret, passwords))
    )


def _split(text: str) -> SplitResult:
    """The parts of the URL. What a password may not hold unescaped would end up in the name of the host."""
    try:
        parts = urlsplit(text)
        _ = parts.password
    except ValueError:
        raise _malformed() from None
    strays = parts.path + parts.query
    if parts.netloc.count("@") > 1 or "@" in strays or parts.fragment or not parts.path[1:]:
        raise _malformed()
    if not all(_is_port(host) for host in parts.netloc.rpartition("@")[2].split(",")):
        raise _malformed()
    return parts


def _is_port(host: str) -> bool:
    port = host.rpartition("]")[2].partition(":")[2]
    return not port or port.isdecimal()


def _malformed() -> UsageError:
    return UsageError(
        "the URL of the state store is not of the form postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE",
        hint="mend BACKSTAY_STORE (or `store:`); in a password write @ as %40, / as %2F, : as %3A, ? as %3F, # as %23",
    )
