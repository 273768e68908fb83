"""What is known of an image before it is pulled, and a look inside one that is here; nothing is left by looking."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from backstay.adapters.docker import DockerEngine
from backstay.adapters.docker import inside as look
from backstay.domain.secret import Secret
from backstay.errors import EngineError, RegistryError
from backstay.ports.engine import Login
from tests.engine import tiny
from tests.engine.tiny import Tiny
from tests.world import World

pytestmark = pytest.mark.world
ABSENT = "sha256:" + "1" * 64


@pytest.fixture
def engine(world: World) -> DockerEngine:
    return DockerEngine(world.docker_host)


@pytest.fixture
def login(world: World) -> Login:
    return Login(world.registry.user, Secret(world.registry.password))


@pytest.fixture
def image(world: World) -> Iterator[Tiny]:
    made = tiny.push(world)
    yield made
    tiny.forget(world, made)


@pytest.fixture
def foreign(world: World) -> Iterator[Tiny]:
    """An image built for another kind of processor."""
    made = tiny.push(world, "linux/s390x")
    yield made
    tiny.forget(world, made)


def test_the_login_is_tried_and_not_kept(engine: DockerEngine, login: Login, image: Tiny) -> None:
    engine.sign_in(image.repository, login)
    with pytest.raises(RegistryError, match="wants a login"):
        engine.digest(image.repository, image.version, None)


def test_a_wrong_password_is_refused_and_not_shown(engine: DockerEngine, image: Tiny) -> None:
    with pytest.raises(RegistryError, match="refused the login") as caught:
        engine.sign_in(image.repository, Login("ci", Secret("wrong-hidden")))
    assert caught.value.hint and "wrong-hidden" not in caught.value.message


def test_a_registry_that_is_down_or_silent(world: World, login: Login) -> None:
    with pytest.raises(RegistryError, match=r"registry 127\.0\.0\.1:1 cannot be reached") as caught:
        DockerEngine(world.docker_host).sign_in("127.0.0.1:1/app", login)
    assert caught.value.hint
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(RegistryError, match=f"registry {address} did not answer within 1 s"):
            DockerEngine(world.docker_host, call_s=1.0).sign_in(f"{address}/app", login)


def test_a_manifest_by_tag_and_by_digest(engine: DockerEngine, login: Login, image: Tiny) -> None:
    for version in (image.version, image.digest):
        found = engine.manifest(image.repository, version, login)
        assert (found.digest, found.platforms) == (image.digest, ("linux/amd64",))
    with pytest.raises(RegistryError, match="does not have the image"):
        engine.manifest(image.repository, ABSENT, login)


def test_another_architecture_shows_before_anything_is_pulled(
    engine: DockerEngine, login: Login, foreign: Tiny
) -> None:
    found = engine.manifest(foreign.repository, foreign.version, login)
    assert found.platforms == ("linux/s390x",)
    assert engine.held(foreign.repository, foreign.digest) is None


def test_missing_bytes_are_those_of_the_layers_not_here(
    engine: DockerEngine, login: Login, image: Tiny
) -> None:
    missing = engine.missing_bytes(image.repository, image.digest, login)
    assert missing is not None and 32 <= missing < 4096
    assert engine.held(image.repository, image.digest) is None
    kept = engine.pull(image.repository, image.version, image.digest, login)
    assert engine.held(image.repository, image.digest) == kept
    assert engine.missing_bytes(image.repository, image.digest, login) == 0


def test_layers_shared_with_an_older_version_are_not_counted(
    shop_images: World, login: Login, engine: DockerEngine
) -> None:
    repository = f"{shop_images.registry.address}/shop-backend"
    v2 = engine.manifest(repository, "v2", login)
    v1 = engine.manifest(repository, "v1", login)
    engine.pull(repository, "v1", v1.digest, login)
    missing = engine.missing_bytes(repository, v2.digest, login)
    size = int(shop_images.docker("image", "inspect", "--format", "{{.Size}}", f"{repository}@{v1.digest}"))
    assert missing is not None and missing < size / 10


@pytest.mark.parametrize("why", ["wrong password", "no login", "absent", "nobody there"])
def test_what_the_registry_does_not_tell_is_unknown_and_no_error(
    engine: DockerEngine, login: Login, image: Tiny, why: str
) -> None:
    asked = {
        "wrong password": (image.repository, image.digest, Login("ci", Secret("wrong"))),
        "no login": (image.repository, image.digest, None),
        "absent": (image.repository, ABSENT, login),
        "nobody there": ("127.0.0.1:1/app", ABSENT, login),
    }
    assert engine.missing_bytes(*asked[why]) is None


@pytest.mark.parametrize(
    ("command", "found"),
    [("python3", True), ("sh", True), ("/bin/sh", True), ("no-such-command", False), ("/etc/passwd", False),
     ("/etc", False), ("./etc/passwd", False)],
)  # fmt: skip
def test_a_command_is_looked_for_as_the_image_would(
    world: World, engine: DockerEngine, command: str, found: bool
) -> None:
    before = world.docker("ps", "-aq", "--filter", "label=backstay.role=look").split()
    assert engine.finds(world.base_image, command) is found
    assert world.docker("ps", "-aq", "--filter", "label=backstay.role=look").split() == before


def test_only_an_image_that_is_here_can_be_looked_into(engine: DockerEngine) -> None:
    with pytest.raises(EngineError, match="has no image"):
        engine.finds("nothing:here", "sh")


def test_what_a_killed_look_left_goes_with_a_later_one(
    world: World, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = world.docker("create", "--label", "backstay.role=look", world.base_image, "sh").strip()
    other = world.docker("create", "--label", "backstay.role=check", world.base_image, "sh").strip()

    def there() -> set[str]:
        return {left, other} & set(world.docker("ps", "-aq", "--no-trunc").split())

    try:
        engine.finds(world.base_image, "sh")
        assert there() == {left, other}, "it may be at work"
        monkeypatch.setattr(look, "LASTS_S", -1.0)
        engine.finds(world.base_image, "sh")
        assert there() == {other}
    finally:
        world.docker("rm", *there())
