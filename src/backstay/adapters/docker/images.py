"""Images: what digest the registry has, and keeping what was pulled."""

from __future__ import annotations

from docker import APIClient
from docker.errors import APIError, NotFound

from backstay.adapters.docker import faults, registry
from backstay.errors import EngineError
from backstay.ports.engine import Login

_DIGEST_PREFIX = "sha256:"
_HEX_KEPT = 24


def digest_of(client: APIClient, reference: str, login: Login | None) -> str:
    """The manifest digest the registry has for `reference` now; RegistryError when it gives none."""
    try:
        auth = registry.auth_of(login)
        found = client.inspect_distribution(reference, auth_config=auth)  # type: ignore[no-untyped-call]
    except APIError as error:
        raise registry.trouble(
            faults.explanation(error), "look up", reference, login, error.status_code
        ) from None
    return str(found["Descriptor"]["digest"])


def kept_as(image: str, digest: str) -> str:
    """The local tag under which we keep `image@digest`, so that a prune of untagged images spares it.

    Twenty-four hex digits tell any two digests apart; the name's last part is there for people.
    """
    if not digest.startswith(_DIGEST_PREFIX) or len(digest) < len(_DIGEST_PREFIX) + _HEX_KEPT:
        raise EngineError(f"{digest!r} is not a manifest digest (sha256:…)")
    name = image.rpartition("/")[2]
    return f"backstay/{name}:{digest.removeprefix(_DIGEST_PREFIX)[:_HEX_KEPT]}"


def fetch(client: APIClient, image: str, version: str, digest: str, login: Login | None) -> str:
    """Have `image@digest` here under our tag; returns the tag. The registry is asked only when needed."""
    kept, pinned = kept_as(image, digest), f"{image}@{digest}"
    if _holds(client, kept, digest):
        return kept
    if not _holds(client, pinned, digest):
        _pull(client, image, version, digest, login)
    repository, _, tag = kept.rpartition(":")
    client.tag(pinned, repository, tag, force=True)
    return kept


def _holds(client: APIClient, reference: str, digest: str) -> bool:
    """Whether `reference` is here and came from `digest`: anybody may move a tag, also one of ours."""
    try:
        found = client.inspect_image(reference)  # type: ignore[no-untyped-call]
    except NotFound:
        return False
    return any(name.endswith(f"@{digest}") for name in found.get("RepoDigests") or ())


def _pull(client: APIClient, image: str, version: str, digest: str, login: Login | None) -> None:
    reference = f"{image}:{version}@{digest}"
    try:
        lines = client.pull(image, tag=digest, stream=True, decode=True, auth_config=registry.auth_of(login))
        for line in lines:
            if "error" in line:
                raise registry.trouble(str(line["error"]), "pull", reference, login)
    except APIError as error:
        raise registry.trouble(
            faults.explanation(error), "pull", reference, login, error.status_code
        ) from None
