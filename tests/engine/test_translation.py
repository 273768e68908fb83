"""Errors of the SDK and words of registries, each as the error it means."""

from __future__ import annotations

import subprocess
import sys

import pytest
import requests
import urllib3
from docker.errors import APIError, DockerException

from backstay.adapters.docker import faults, ports, registry
from backstay.adapters.docker.images import kept_as
from backstay.domain.secret import Secret
from backstay.errors import EngineError, RegistryError
from backstay.ports.engine import Login

LOGIN = Login("ci", Secret("s3cr3t-word"))
IMAGE = "registry.example:5000/team/app"
REFERENCE = f"{IMAGE}:v1"


def wrapped(cause: Exception) -> requests.ConnectionError:
    """As requests and urllib3 hand a socket's error on."""
    return requests.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted.", cause))


@pytest.mark.parametrize(
    ("error", "says", "hint"),
    [
        (wrapped(PermissionError(13, "Permission denied")), "not allowed to open", "group 'docker'"),
        (wrapped(FileNotFoundError(2, "No such file")), "no Docker engine answers at /s", "systemctl start"),
        (
            wrapped(ConnectionRefusedError(111, "refused")),
            "no Docker engine answers at /s",
            "systemctl start",
        ),
        (wrapped(ConnectionResetError(104, "reset by peer")), "broke: [Errno 104] reset by peer", "again"),
        (TimeoutError("no answer"), "did not answer within 5 s", "docker ps"),
        (requests.ReadTimeout("read timed out"), "did not answer within 5 s", "docker ps"),
        (wrapped(TimeoutError("timed out")), "did not answer within 5 s", "docker ps"),
        (DockerException("Error while fetching server API version"), "broke", "again"),
        (APIError("x", explanation="no space left on device"), "says: no space left", "system df"),
        (APIError("x", explanation="No such image: a:b"), "says: No such image", "pull it again"),
    ],
)
def test_engine_trouble_says_what_why_and_what_next(error: Exception, says: str, hint: str) -> None:
    assert isinstance(error, faults.FOREIGN)
    found = faults.translate(error, "start container 'web'", "/s", 5.0)
    assert type(found) is EngineError
    assert found.message.startswith("cannot start container 'web': ")
    assert says in found.message
    assert hint in (found.hint or "")


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ("unauthorized: authentication required", "refused the login"),
        ('Head "https://r/v2/": no basic auth credentials', "refused the login"),
        ("denied: requested access to the resource is denied", "refused the login"),
        (
            "pull access denied for x, repository does not exist or may require 'docker login'",
            "refused the login",
        ),
        ("manifest unknown: manifest unknown", "does not have the image"),
        (f"manifest for {IMAGE}@sha256:{'0' * 64} not found: manifest unknown", "does not have the image"),
        ("name unknown: repository name not known to registry", "does not have the image"),
        ("no matching manifest for linux/arm64 in the manifest list entries", "not for this host's platform"),
        ("dial tcp: lookup r on 127.0.0.53:53: no such host", "has a name nobody knows"),
        ("dial tcp 127.0.0.1:1: connect: connection refused", "cannot be reached"),
        ("net/http: request canceled while waiting for connection", "cannot be reached"),
        ("received unexpected HTTP status: 503 Service Unavailable", "cannot be reached"),
        ("x509: certificate signed by unknown authority", "cannot be trusted"),
        ("http: server gave HTTP response to HTTPS client", "cannot be trusted"),
        ("toomanyrequests: You have reached your pull rate limit", "wants fewer requests"),
        ("invalid reference format", "no valid image name"),
    ],
)
def test_registry_trouble_names_image_registry_and_cause(said: str, says: str) -> None:
    error = registry.trouble(said, "pull", REFERENCE, LOGIN, 500)
    assert isinstance(error, RegistryError)
    assert error.message.startswith(f"cannot pull {REFERENCE}: ")
    assert "registry.example:5000" in error.message
    assert says in error.message
    assert error.hint


def test_a_missing_login_is_told_from_a_wrong_one() -> None:
    assert "wants a login" in registry.trouble("unauthorized", "pull", REFERENCE, None).message


def test_trouble_of_the_host_is_no_registry_error() -> None:
    error = registry.trouble("write /x: no space left on device", "pull", REFERENCE, LOGIN)
    assert type(error) is EngineError


def test_words_in_the_image_name_or_digest_mislead_nobody() -> None:
    image = "registry.example/unauthorized/timeout"
    error = registry.trouble(
        f"manifest for {image}:v1 not found: manifest unknown",
        "pull",
        f"{image}:v1@sha256:{'e0f' * 21}a",
        LOGIN,
    )
    assert "does not have the image" in error.message


def test_unknown_words_are_passed_on() -> None:
    error = registry.trouble("the moon is full", "pull", REFERENCE, LOGIN, 500)
    assert "the moon is full" in error.message
    assert error.hint


def test_a_404_without_known_words_is_an_absent_image() -> None:
    assert "does not have" in registry.trouble("nothing here", "look up", REFERENCE, LOGIN, 404).message


def test_passwords_are_masked_in_what_the_registry_says() -> None:
    error = registry.trouble("Get https://ci:s3cr3t-word@r/token: unauthorized", "pull", REFERENCE, LOGIN)
    assert "s3cr3t-word" not in error.message


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("app", "docker.io"),
        ("team/app", "docker.io"),
        ("localhost/app", "localhost"),
        ("localhost:5000/app", "localhost:5000"),
        ("ghcr.example/team/app", "ghcr.example"),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000"),
    ],
)
def test_registry_of_an_image(image: str, expected: str) -> None:
    assert registry.registry_of(image) == expected


def test_no_login_means_an_anonymous_request_and_not_the_home_folders() -> None:
    assert registry.auth_of(None) == {}
    assert registry.auth_of(LOGIN) == {"username": "ci", "password": "s3cr3t-word"}


def test_our_tag_comes_from_name_and_digest() -> None:
    assert kept_as(IMAGE, "sha256:" + "0123456789abcdef" * 4) == "backstay/app:0123456789abcdef01234567"
    with pytest.raises(EngineError, match="is not a manifest digest"):
        kept_as(IMAGE, "v1")


def test_taken_ports_are_known_by_the_engines_words() -> None:
    assert ports.is_taken("Bind for 127.0.0.1:20000 failed: port is already allocated")
    assert ports.is_taken("listen tcp4 127.0.0.1:20000: bind: address already in use")
    assert not ports.is_taken("driver failed programming external connectivity")


def test_the_sdk_is_loaded_at_first_use_only() -> None:
    script = "import sys, backstay.adapters.docker; print('docker' in sys.modules, 'requests' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
