"""The network between us and the engine is cut: packets are dropped, nobody is told."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backstay.adapters.docker import DockerEngine
from backstay.domain.secret import Secret
from backstay.errors import EngineError
from backstay.ports.engine import ContainerSpec, Login
from tests.crash.aftermath import assert_whole
from tests.faults.distance import Distance
from tests.faults.matrix import seen
from tests.faults.scene import deploying, ended, pair, reach, switched, told
from tests.page import Page
from tests.world import World

pytestmark = pytest.mark.world


@pytest.fixture
def distance(world: World) -> Iterator[Distance]:
    with Distance(Path(world.docker_host.removeprefix("unix://"))) as made:
        yield made


def test_every_call_ends_at_its_own_deadline(page_images: World, distance: Distance) -> None:
    """No answer ever comes, and no error either: only our own clock can end a call."""
    engine = DockerEngine(distance.docker_host, call_s=1.0, pull_s=1.5)
    registry = page_images.registry
    login, image = Login(registry.user, Secret(registry.password)), f"{registry.address}/page-web"
    digest = DockerEngine(distance.docker_host).digest(image, "v1", login)
    distance.cut()
    calls: dict[str, Callable[[], object]] = {
        "info": engine.info,
        "find": lambda: engine.find({"backstay.app": "nobody"}),
        "run": lambda: engine.run(
            ContainerSpec(f"far{os.getpid()}", page_images.base_image, "bridge", {"a": "b"})
        ),
        "pull": lambda: engine.pull(image, "v1", digest, login),
    }
    for name, call in calls.items():
        began = time.monotonic()
        with pytest.raises(EngineError, match="did not answer within") as given_up:
            call()
        assert time.monotonic() - began < 5, name
        assert given_up.value.hint
    distance.mend()
    assert engine.find({"backstay.app": "nobody"}) == []


def test_a_cut_of_three_seconds_only_delays_a_deploy(page: Page, distance: Distance) -> None:
    _, other = pair(page)
    page.configure(migration_s="2")
    page.extra = {"DOCKER_HOST": distance.docker_host}
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        with deploying(page, other) as deploy:
            reach(page, "migrate")
            distance.cut()
            time.sleep(3)
            distance.mend()
        report = load.stop()
    page.extra = {}
    seen("network to the engine cut for 3 s in a migration", report, status=deploy.returncode,
         said="the deploy takes some seconds longer")  # fmt: skip
    assert deploy.returncode == 0
    assert report.failed == 0, report.table()
    assert assert_whole(page) == other


@pytest.mark.long
def test_a_cut_for_good_ends_a_deploy_in_time_and_traffic_goes_on(page: Page, distance: Distance) -> None:
    live, other = pair(page)
    page.configure(migration_s="2")
    page.extra = {"DOCKER_HOST": distance.docker_host}
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        with deploying(page, other) as deploy:
            reach(page, "migrate")
            distance.cut()
            began = time.monotonic()
            deploy.wait(400)
            took = time.monotonic() - began
        page.extra = {}
        healed = page.run("recover", "dev")
        report = load.stop()
    end = page.history()[0]
    seen("network to the engine cut for good in a migration", report, whole_s=took, status=deploy.returncode,
         said=end["reason"])  # fmt: skip
    assert (deploy.returncode, healed.status) == (20, 0)
    assert report.failed == 0, report.table()
    assert assert_whole(page) == live


@pytest.mark.long
def test_a_cut_in_the_bake_does_not_stop_it(page: Page, distance: Distance) -> None:
    _, other = pair(page)
    page.configure(bake="3s")
    page.extra = {"DOCKER_HOST": distance.docker_host}
    with page.load() as load:
        load.until(lambda so_far: so_far.requests > 20)
        switched(page, other)
        distance.cut()
        began = time.monotonic()
        answer = page.run("attach", "dev", "--json")
        took = time.monotonic() - began
        page.extra = {}
        healed = page.run("recover", "dev")
        report = load.stop()
    seen("network to the engine cut for good in the bake", report, whole_s=took, status=answer.status,
         said="the deploy succeeds; what it displaced is removed by the next command")  # fmt: skip
    assert ended(answer) == (0, "succeeded"), told(answer)
    assert healed.status == 0
    assert report.failed == 0, report.table()
    assert assert_whole(page) == other


@pytest.mark.parametrize(
    "address", ["ssh://nobody@192.0.2.1", pytest.param("tcp://192.0.2.1:2375", marks=pytest.mark.long)]
)
def test_an_engine_on_another_host_is_refused_at_once(page: Page, address: str) -> None:
    """Its containers would be published on a loopback address that is not ours."""
    live, other = pair(page)
    page.extra = {"DOCKER_HOST": address}
    began = time.monotonic()
    answer = page.deploy(other)
    took = time.monotonic() - began
    page.extra = {}
    seen(
        f"DOCKER_HOST={address.partition('//')[0]}//…", whole_s=took, status=answer.status, said=told(answer)
    )
    assert answer.status in (10, 20) and "must be on this host" in told(answer), answer
    assert took < 10
    assert assert_whole(page) == live
