"""What an application is given in place of its database's URL."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from backstay.domain.secret import Secret

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


def password_of(url: Secret) -> Secret:
    """The password in a URL, to take it out of messages; an empty one when it has none."""
    return Secret(unquote(urlsplit(url.reveal()).password or ""))


def redirected(live: Secret, scratch: Secret) -> Secret:
    """The application's URL, led to `scratch`: scheme (with its driver) and harmless options stay as they were."""
    was, now = urlsplit(live.reveal()), urlsplit(scratch.reveal())
    options = [(key, value) for key, value in parse_qsl(was.query) if key not in _ENCRYPTION]
    return Secret(urlunsplit((was.scheme, now.netloc, now.path, urlencode(options), "")))
