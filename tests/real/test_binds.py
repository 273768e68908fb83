"""Another address for the router, through the command line: on real processes and HAProxy, under load."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator
from itertools import count

import pytest

from tests.page import Page, build, looks
from tests.real.plain import PlainApp
from tests.shop import free_port
from tests.world import World

pytestmark = pytest.mark.world
_numbers = count(1)


@pytest.fixture
def app() -> Iterator[PlainApp]:
    """v1 serves."""
    with PlainApp(f"binds{os.getpid()}x{next(_numbers)}", bake="1s") as made:
        made.release("v1")
        assert made.deploy("v1").status == 0
        yield made


def move(app: PlainApp) -> int:
    """Name another port in backstay.yml, and return it."""
    config, other = app.folder / "backstay.yml", free_port()
    config.write_text(config.read_text().replace(f':{app.port}"', f':{other}"'))
    return other


def served_at(port: int) -> str | None:
    """The release that answers there; None when nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/version", timeout=10) as answer:
            return str(answer.headers["X-Shop-Version"])
    except OSError:
        return None


def test_a_deploy_that_fails_fails_nobody_at_the_old_address(app: PlainApp) -> None:
    app.release("v2", sick=True)
    other = move(app)
    with app.load() as load:
        load.until(lambda seen: seen.requests > 20)
        assert app.deploy("v2").status == 20
        so_far = load.so_far().requests
        load.until(lambda seen: seen.requests > so_far + 20)
        report = load.stop()
    assert report.failed == 0 and set(report.by_release) == {"v1"}, report.table()
    assert (served_at(app.port), served_at(other)) == ("v1", None)
    assert app.status()["drift"] == []


def test_after_a_rollback_and_a_reboot_recover_listens_where_the_router_was_last_set_up(
    app: PlainApp,
) -> None:
    """v1 was born at the old address and serves again; the router was set up at the new one since."""
    app.release("v2")
    other = move(app)
    assert app.deploy("v2").status == 0
    assert (served_at(app.port), served_at(other)) == (None, "v2")
    assert app.run("rollback", "dev").status == 0
    app.router.stop()
    assert [d["what"] for d in app.status()["drift"]] == ["router"]
    assert app.run("recover", "dev").status == 0
    assert (served_at(app.port), served_at(other)) == (None, "v1")
    assert app.status()["drift"] == []


def test_a_router_that_listens_elsewhere_is_drift_that_recover_heals(app: PlainApp) -> None:
    other = free_port()
    app.router.keeper.reload([["127.0.0.1", other]], app.router.config_file.read_text())
    [drift] = app.status()["drift"]
    assert (drift["expected"], drift["found"]) == (f"127.0.0.1:{app.port}", f"127.0.0.1:{other}")
    assert app.run("recover", "dev").status == 0
    assert (served_at(app.port), served_at(other)) == ("v1", None)
    assert app.status()["drift"] == []


def where_it_listens(page: Page) -> set[str]:
    return {bind.address for bind in looks.router(page).state().binds or ()}


@pytest.fixture
def another(world: World) -> Iterator[str]:
    """A network that somebody else made."""
    name = f"binds{os.getpid()}-another"
    world.docker("network", "create", name)
    yield name
    world.docker("network", "rm", name)


def test_the_router_leaves_a_network_only_once_a_release_was_proven_on_another(
    world: World, another: str
) -> None:
    build(world, ("v1", "v2", "v3"))
    with Page(world, f"binds{os.getpid()}net") as page:
        assert page.run("deploy", "dev", "--version", "v1").status == 0
        before = where_it_listens(page)
        assert len(before) == 2
        config = page.folder / "backstay.yml"
        config.write_text(config.read_text().replace("    router:", f"    network: {another}\n    router:"))
        assert page.run("deploy", "dev", "--version", "v3").status == 20
        assert where_it_listens(page) == before and looks.status(page)["drift"] == []
        assert page.run("deploy", "dev", "--version", "v2").status == 0
        after = where_it_listens(page)
        assert len(after) == 2 and len(before & after) == 1 and looks.status(page)["drift"] == []
        assert page.run("rollback", "dev").status == 0
        assert where_it_listens(page) == after and looks.status(page)["drift"] == []
