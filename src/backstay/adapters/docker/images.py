"""Images: what digest the registry has, and keeping what was pulled."""

from __future__ import annotations

from docker import APIClient
from docker.errors import APIError, NotFound

from backstay.adapters.docker import faults, registry
from backstay.errors import EngineError
from backstay.ports.engine import Login, Manifest

_DIGEST_PREFIX = "sha256:"
_HEX_KEPT = 24


def digest_of(client: APIClient, reference: str, login: Login | None) -> str:
    """The manifest digest the registry has for `reference` now; RegistryError when it gives none."""
    return manifest_of(client, reference, login).digest


def manifest_of(client: APIClient, reference: str, login: Login | None) -> Manifest:
    """What the registry has for `reference` now; RegistryError when it has nothing or does not let us look."""
    try:
        auth = registry.auth_of(login)
        found = client.inspect_distribution(reference, auth_config=auth)  # type: ignore[no-untyped-call]
    except APIError as error:
        raise registry.trouble(
            faults.explanation(error), "look up", reference, login, error.status_code
        ) from None
    built = [f"{each.get('os')}/{each.get('architecture')}" for each in found.get("Platforms") or ()]
    # Attestations stand in a list of images as one of an unknown platform; a list may name variants twice.
    platforms = tuple(dict.fromkeys(each for each in built if "unknown" not in each and each[-1] != "/"))
    return Manifest(str(found["Descriptor"]["digest"]), platforms)


def sign_in(client: APIClient, image: str, login: Login) -> None:
    """Try the login at the registry of `image`; RegistryError when it is refused.

    Asked directly: the SDK's own `login` would read the home folder of whoever runs us, and keep the password.
    """
    host = registry.registry_of(image)
    server = "https://index.docker.io/v1/" if host == "docker.io" else host
    answer = client.post(
        f"{client.base_url}/v{client.api_version}/auth",
        json={**registry.auth_of(login), "serveraddress": server},
    )
    if answer.status_code >= 400:
        try:
            said = str(answer.json()["message"])
        except (ValueError, KeyError, TypeError):
            said = answer.text
        raise registry.trouble(said, "sign in for", image, login, answer.status_code)


def held(client: APIClient, image: str, digest: str) -> str | None:
    """The reference of `image@digest` when it is here: our own tag, else the pinned name."""
    names = (kept_as(image, digest), f"{image}@{digest}")
    return next((name for name in names if _holds(client, name, digest)), None)


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
