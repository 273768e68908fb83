"""How many bytes a pull would fetch.

The engine does not tell before it pulls, so the registry itself is asked for the manifest and the configuration of
the image (which says what each layer is once unpacked), and the engine for the layers it has.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

from docker import APIClient

from backstay.adapters.docker.registry import registry_of
from backstay.ports.engine import Login

ASK_S: Final = 3.0
LARGEST: Final = 8 * 1024 * 1024
_NEWEST: Final = 12
_HUB: Final = "registry-1.docker.io"
_KINDS: Final = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


class Unknown(Exception):
    """The registry did not tell; the message says why, and holds no credentials."""


def missing_bytes(
    client: APIClient, image: str, digest: str, login: Login | None, platform: str
) -> int | None:
    """Packed bytes of the layers of `image@digest` that no image of that name has here; None when unknown."""
    try:
        asked = _Registry(image, login, _may_be_plain(client, registry_of(image)))
        manifest = asked.manifest(digest, platform)
        layers = manifest["layers"]
        unpacked = asked.blob(manifest["config"]["digest"])["rootfs"]["diff_ids"]
        sizes = [int(layer["size"]) for layer in layers]
    except (Unknown, KeyError, TypeError, ValueError):
        return None
    if len(sizes) != len(unpacked):
        return None
    here = _layers_here(client, image)
    return sum(size for size, layer in zip(sizes, unpacked, strict=True) if layer not in here)


def _layers_here(client: APIClient, image: str) -> set[str]:
    """Layers of the newest images of that name. Others may share some, too: then less is fetched than told."""
    names = (f"{image}:", f"{image}@", f"backstay/{image.rpartition('/')[2]}:")
    listed = (each for each in client.images() if any(
        name.startswith(names) for name in [*(each.get("RepoTags") or ()), *(each.get("RepoDigests") or ())]
    ))  # fmt: skip
    newest = sorted(listed, key=lambda each: each.get("Created", 0), reverse=True)[:_NEWEST]
    found: set[str] = set()
    for each in newest:
        inspected = client.inspect_image(each["Id"])  # type: ignore[no-untyped-call]
        found.update(inspected.get("RootFS", {}).get("Layers") or ())
    return found


def _may_be_plain(client: APIClient, registry: str) -> bool:
    """Whether the engine, too, would speak to this registry without TLS."""
    config = client.info().get("RegistryConfig") or {}
    if (config.get("IndexConfigs") or {}).get(registry, {}).get("Secure") is False:
        return True
    host = registry.rpartition(":")[0] or registry
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host.strip("[]"))
    except ValueError:
        return False
    ranges = config.get("InsecureRegistryCIDRs") or ()
    return any(address in ipaddress.ip_network(each, strict=False) for each in ranges)


class _Registry:
    """Questions to one repository of one registry, by its HTTP API (version 2)."""

    def __init__(self, image: str, login: Login | None, plain: bool) -> None:
        host = registry_of(image)
        name = image.removeprefix(f"{host}/")
        if host == "docker.io":
            host, name = _HUB, name if "/" in name else f"library/{name}"
        self._bases = [f"https://{host}/v2/{name}", *([f"http://{host}/v2/{name}"] if plain else [])]
        self._login = login
        self._plain = plain
        self._sign: str | None = None
        # A loopback or in-house registry is not asked through a proxy; the engine would not, either.
        proxies = urllib.request.ProxyHandler({}) if plain else urllib.request.ProxyHandler()
        self._opener = urllib.request.build_opener(proxies)

    def manifest(self, digest: str, platform: str) -> Mapping[str, Any]:
        """The image's manifest; of several platforms, that of `platform`."""
        found = self._get(f"manifests/{digest}")
        if "manifests" not in found:
            return found
        for each in found["manifests"]:
            built = each.get("platform") or {}
            if f"{built.get('os')}/{built.get('architecture')}" == platform:
                return self._get(f"manifests/{each['digest']}")
        raise Unknown("not built for this platform")

    def blob(self, digest: str) -> Mapping[str, Any]:
        return self._get(f"blobs/{digest}")

    def _get(self, path: str) -> Mapping[str, Any]:
        said: Exception | None = None
        for base in list(self._bases):
            try:
                answer: Mapping[str, Any] = json.loads(self._read(f"{base}/{path}"))
            except urllib.error.HTTPError as error:
                raise Unknown(f"the registry answered {error.code}") from None
            except (OSError, ssl.SSLError) as error:
                said = error
            else:
                self._bases = [base]
                return answer
        raise Unknown(f"the registry cannot be asked from here: {said}")

    def _read(self, url: str) -> bytes:
        try:
            return self._open(url, self._sign)
        except urllib.error.HTTPError as error:
            if error.code != 401 or self._sign is not None:
                raise
            with error:
                self._sign = self._answer_to(error.headers.get("WWW-Authenticate", ""))
        return self._open(url, self._sign)

    def _open(self, url: str, sign: str | None) -> bytes:
        request = urllib.request.Request(url, headers={"Accept": _KINDS, "User-Agent": "backstay"})
        if sign:
            # Unredirected: a registry sends us on to a store of blobs, which must not see the login.
            request.add_unredirected_header("Authorization", sign)
        with self._opener.open(request, timeout=ASK_S) as answer:
            body: bytes = answer.read(LARGEST)
            return body

    def _answer_to(self, challenge: str) -> str:
        """What to sign requests with after a 401 with this challenge (RFC 7235, and token authentication)."""
        basic = None
        if self._login is not None:
            pair = f"{self._login.username}:{self._login.password.reveal()}".encode()
            basic = f"Basic {base64.b64encode(pair).decode()}"
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic":
            if basic is None:
                raise Unknown("the registry wants a login")
            return basic
        fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        realm = fields.pop("realm", "")
        if scheme.lower() != "bearer" or not realm.startswith(
            ("https://", *(["http://"] if self._plain else []))
        ):
            raise Unknown("the registry wants a login of an unknown kind")
        wanted = {key: fields[key] for key in ("service", "scope") if key in fields}
        token = json.loads(self._open(f"{realm}?{urllib.parse.urlencode(wanted)}", basic))
        return f"Bearer {token.get('token') or token['access_token']}"
