"""The registry through a real engine: every way to be refused, and images that stay."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from backstay.adapters.docker import DockerEngine
from backstay.domain.secret import Secret
from backstay.errors import RegistryError
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


def refused(
    engine: DockerEngine, repository: str, version: str, digest: str, login: Login | None
) -> list[str]:
    """What `digest` and `pull` say, both of which must be refused."""
    said = []
    with pytest.raises(RegistryError) as caught:
        engine.digest(repository, version, login)
    said.append(caught.value)
    with pytest.raises(RegistryError) as caught:
        engine.pull(repository, version, digest, login)
    said.append(caught.value)
    assert all(error.hint for error in said)
    assert all(f"{repository}:{version}" in error.message for error in said)
    return [error.message for error in said]


def test_digest_is_what_the_push_reported(engine: DockerEngine, image: Tiny, login: Login) -> None:
    assert engine.digest(image.repository, image.version, login) == image.digest


def test_pull_keeps_the_image_under_a_tag_of_ours(
    engine: DockerEngine, image: Tiny, login: Login, world: World
) -> None:
    kept = engine.pull(image.repository, image.version, image.digest, login)
    name = image.repository.rpartition("/")[2]
    assert kept == f"backstay/{name}:{image.digest.removeprefix('sha256:')[:24]}"
    # Tagged: so no "dangling" image, which is what a prune takes.
    assert world.docker("images", "-q", "--filter", "dangling=false", kept).strip()


def test_what_is_here_is_not_asked_for_again(engine: DockerEngine, image: Tiny, login: Login) -> None:
    kept = engine.pull(image.repository, image.version, image.digest, login)
    # Without a login the registry would refuse.
    assert engine.pull(image.repository, image.version, image.digest, None) == kept


def test_a_lost_or_moved_tag_is_set_right(
    engine: DockerEngine, image: Tiny, login: Login, world: World
) -> None:
    kept = engine.pull(image.repository, image.version, image.digest, login)
    world.docker("rmi", kept)
    assert engine.pull(image.repository, image.version, image.digest, login) == kept
    world.docker("tag", world.base_image, kept)
    assert engine.pull(image.repository, image.version, image.digest, login) == kept
    held = world.docker("image", "inspect", "--format", "{{.RepoDigests}}", kept)
    assert image.digest in held


def test_credentials_do_not_stay_for_the_next_call(engine: DockerEngine, image: Tiny, login: Login) -> None:
    engine.digest(image.repository, image.version, login)
    with pytest.raises(RegistryError, match="wants a login"):
        engine.digest(image.repository, image.version, None)


def test_without_login(engine: DockerEngine, image: Tiny) -> None:
    for said in refused(engine, image.repository, image.version, image.digest, None):
        assert "wants a login, and none is set" in said


def test_wrong_login(engine: DockerEngine, image: Tiny) -> None:
    wrong = Login("ci", Secret("not-the-password"))
    for said in refused(engine, image.repository, image.version, image.digest, wrong):
        assert "refused the login" in said
        assert "not-the-password" not in said


def test_absent_tag_repository_and_digest(engine: DockerEngine, image: Tiny, login: Login) -> None:
    found = refused(engine, image.repository, "nope", ABSENT, login)
    found += refused(engine, f"{image.repository}-x", "v1", ABSENT, login)
    assert all("does not have the image" in said for said in found)


def test_refused_connection_and_unknown_name(engine: DockerEngine, login: Login) -> None:
    for said in refused(engine, "127.0.0.1:1/team/app", "v1", ABSENT, login):
        assert "registry 127.0.0.1:1 cannot be reached" in said
    for said in refused(engine, "no-such-host.invalid:5000/app", "v1", ABSENT, login):
        assert "registry no-such-host.invalid:5000 has a name nobody knows" in said


def test_a_registry_that_never_answers(world: World, login: Login) -> None:
    engine = DockerEngine(world.docker_host, call_s=1.5, pull_s=1.5)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        for said in refused(engine, f"{address}/app", "v1", ABSENT, login):
            assert f"registry {address} did not answer within 1.5 s" in said
