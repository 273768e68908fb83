"""Where scratch servers come from, and what an application is given in place of its database's URL."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from backstay.domain.secret import Secret


class Source(StrEnum):
    """`AUTO`: this host's own binaries of the same major version. `CONTAINER`: an image. `URL`: a server that
    somebody gives, whatever else runs there."""

    AUTO = "auto"
    CONTAINER = "container"
    URL = "url"


@dataclass(frozen=True, slots=True)
class Where:
    """`database.scratch` of the configuration. `name` is the image, or the name of the secret; "" for `auto`."""

    source: Source
    name: str = ""

    @classmethod
    def parse(cls, written: str) -> Where:
        """ValueError when it is none of `auto`, `container:IMAGE` and `url:SECRET`."""
        if written == Source.AUTO:
            return cls(Source.AUTO)
        kind, _, name = written.partition(":")
        if kind in (Source.CONTAINER, Source.URL) and name and not name.startswith("//"):
            return cls(Source(kind), name)
        raise ValueError(f"{written!r} is none of auto, container:IMAGE and url:SECRET")

    def __str__(self) -> str:
        return self.source.value if self.source is Source.AUTO else f"{self.source.value}:{self.name}"


_ENCRYPTION: Final = frozenset(
    {"sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslnegotiation", "gssencmode", "channel_binding",
     "target_session_attrs", "host", "hostaddr", "port"}
)  # fmt: skip
"""What a URL may say of the way to its server; that way is another one now."""


def database_of(url: Secret) -> str:
    """The name of the database in a URL; "" when it has none."""
    return unquote(urlsplit(url.reveal()).path.lstrip("/"))


def role_of(url: Secret) -> str:
    """The role in a URL; "" when it has none."""
    return unquote(urlsplit(url.reveal()).username or "")


def redirected(live: Secret, scratch: Secret) -> Secret:
    """The application's URL, led to `scratch`: scheme (with its driver) and harmless options stay as they were."""
    was, now = urlsplit(live.reveal()), urlsplit(scratch.reveal())
    options = [(key, value) for key, value in parse_qsl(was.query) if key not in _ENCRYPTION]
    return Secret(urlunsplit((was.scheme, now.netloc, now.path, urlencode(options), "")))
