"""What the registry's refusals mean. The engine passes them on as text, mostly under status 500."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from backstay.domain.secret import redact
from backstay.errors import EngineError, RegistryError
from backstay.ports.engine import Login

_DEFAULT: Final = "docker.io"


@dataclass(frozen=True, slots=True)
class _Cause:
    """A cause, the words by which it is known (lower case), a sentence for it and the usual cure."""

    words: tuple[str, ...]
    says: str
    hint: str


_SIGN_IN: Final = (
    "check the secrets named under 'registry' in backstay.yml, and that the account may read the image"
)
_REACH: Final = (
    "check the registry's name and port, and from this host that it is up and no firewall is between"
)

# The first that fits counts: a refused login often speaks of an absent repository, too.
_CAUSES: Final = (
    _Cause(("toomanyrequests", "too many requests", "rate limit"), "wants fewer requests", "wait or sign in"),
    _Cause(
        ("unauthorized", "authentication required", "no basic auth credentials", "access denied", "denied:",
         "403 forbidden", "incorrect username or password"),
        "refused the login", _SIGN_IN,
    ),
    _Cause(
        ("no matching manifest",), "has the image, but not for this host's platform",
        "build and push the image for this platform",
    ),
    _Cause(
        ("manifest unknown", "name unknown", "not found: does not exist", "manifest for",
         "repository does not exist", "not known to registry"),
        "does not have the image", "check the name and the version, and that the build has pushed it",
    ),
    _Cause(
        ("invalid reference format", "invalid repository name", "invalid tag"),
        "was not asked, this is no valid image name", "check the image and the version in backstay.yml",
    ),
    _Cause(
        ("no such host", "server misbehaving", "name resolution"), "has a name nobody knows",
        "check the registry's name in backstay.yml and this host's DNS",
    ),
    _Cause(("x509:", "certificate", "tls:", "http response to https client"), "cannot be trusted",
           "give the engine the registry's CA certificate, or list it under insecure-registries"),
    _Cause(
        ("connection refused", "i/o timeout", "timeout", "deadline exceeded", "no route to host",
         "network is unreachable", "connection reset", ": eof", "unexpected eof", "request canceled",
         "bad gateway", "service unavailable"),
        "cannot be reached", _REACH,
    ),
)  # fmt: skip

# Trouble of the host that shows during a pull: no registry is to blame.
_OWN: Final = (
    "no space left on device",
    "read-only file system",
    "failed to register layer",
    "input/output error",
)


def registry_of(image: str) -> str:
    """The registry an image leads to, by Docker's rule: a first part with a dot, a colon or `localhost`."""
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else _DEFAULT


def auth_of(login: Login | None) -> dict[str, str]:
    """Credentials for one request. Without a login the request is anonymous.

    Never None: the SDK would then look into the home folder of whoever runs us, and the same deployment would
    work for one person and fail for another.
    """
    if login is None:
        return {}
    return {"username": login.username, "password": login.password.reveal()}


def trouble(
    said: str, doing: str, reference: str, login: Login | None, status: int | None = None
) -> EngineError:
    """The error for what engine or registry `said` while `doing`; its text holds no credentials."""
    said = redact(" ".join(said.split()), [login.password] if login else [])
    registry, text = registry_of(reference), _words(said, reference)
    if any(words in text for words in _OWN):
        return EngineError(
            f"cannot {doing} {reference}: the Docker engine says: {said}",
            hint="free space where the engine keeps its data: docker system df",
        )
    cause = next((cause for cause in _CAUSES if any(words in text for words in cause.words)), None)
    if cause is None and status == 404:
        cause = next(cause for cause in _CAUSES if "manifest unknown" in cause.words)
    if cause is None:
        return RegistryError(
            f"cannot {doing} {reference}: registry {registry} or the engine says: {said}",
            hint=f"try 'docker pull {reference}' on this host, and look at the logs of registry and engine",
        )
    says = "wants a login, and none is set" if cause.hint is _SIGN_IN and login is None else cause.says
    return RegistryError(f"cannot {doing} {reference}: registry {registry} {says}: {said}", hint=cause.hint)


def _words(said: str, reference: str) -> str:
    """`said` without the image's own name and digests, which may hold any of the words looked for."""
    repository = re.sub(r":[^:/]+$", "", reference.partition("@")[0])
    return re.sub(r"sha256:[0-9a-f]+", "", said.replace(repository, "")).lower()


def unreachable(doing: str, reference: str, seconds: float) -> RegistryError:
    """The engine answers, but what it asked of the registry took too long."""
    return RegistryError(
        f"cannot {doing} {reference}: registry {registry_of(reference)} did not answer within {seconds:g} s",
        hint=_REACH,
    )
