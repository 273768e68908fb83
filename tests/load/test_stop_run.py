"""What a plain `docker stop && docker rm && docker run` costs, as the load client sees it.

This is the client's proof on a real container: if it saw nothing here, a 0 elsewhere would mean nothing.
"""

import os
import secrets
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.load import Load, LoadPlan, Report
from tests.world import World, images

BOOT_S = 60.0


@dataclass(frozen=True)
class Shop:
    """One backend container behind a published loopback port."""

    world: World
    image: str
    name: str
    port: int
    database_url: str

    def run(self) -> None:
        """Start the container; WorldError when the engine declines."""
        published = f"127.0.0.1:{self.port}:8000"
        self.world.docker("run", "-d", "--name", self.name, "-p", published, *self._settings(), self.image)

    def migrate(self) -> None:
        """Apply the migrations in a container of their own."""
        self.world.docker(
            "run", "--rm", *self._settings(), self.image, "python", "manage.py", "migrate", "--noinput"
        )

    def wait_until_healthy(self) -> None:
        """Return with the first good health answer; the test fails after `BOOT_S` seconds."""
        deadline = time.monotonic() + BOOT_S
        while not self._is_healthy():
            if time.monotonic() > deadline:
                pytest.fail(f"not healthy in {BOOT_S:g} s\n{self.logs()}")
            time.sleep(0.1)

    def logs(self) -> str:
        """What the container has said."""
        return self.world.docker("logs", self.name)

    def _is_healthy(self) -> bool:
        url = f"http://127.0.0.1:{self.port}/api/v1/health/"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False

    def _settings(self) -> list[str]:
        variables = {"DATABASE_URL": self.database_url, "SECRET_KEY": "only-for-this-test"}
        pairs = [word for key, value in variables.items() for word in ("-e", f"{key}={value}")]
        return ["--add-host", "host.docker.internal:host-gateway", *pairs]


@pytest.fixture
def shop(world: World) -> Iterator[Shop]:
    """A migrated and healthy v1 with a database of its own."""
    arguments = {"BASE": world.base_image, "VERSION": "v1"}
    image = images.build(world, images.SHOP / "backend", "shop-backend:v1", arguments)
    mark = f"stop_run_{os.getpid()}_{secrets.token_hex(3)}"
    database = world.create_database(mark)
    try:
        shop = Shop(world, image.by_tag, mark, _free_port(), database["container"])
        shop.migrate()
        try:
            shop.run()
            shop.wait_until_healthy()
            yield shop
        finally:
            world.docker("rm", "-f", "-v", mark)
    finally:
        world.drop_database(mark)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _right_answers(report: Report) -> dict[str, int]:
    """Requests of each kind that neither failed nor were answered badly."""
    return {kind: c.requests - c.failed - c.bad_answers for kind, c in report.by_kind.items()}


@pytest.mark.world
def test_stop_rm_run_fails_many_requests_and_the_client_sees_them(shop: Shop) -> None:
    with Load(LoadPlan("127.0.0.1", shop.port, page_path="")) as load:
        before = load.until(lambda r: all(count >= 3 for count in _right_answers(r).values()), 60)
        assert before.failed == 0 and before.bad_answers == {}, before.table()
        stopped = load.now()
        shop.world.docker("stop", shop.name)
        shop.world.docker("rm", shop.name)
        shop.run()
        shop.wait_until_healthy()
        back = load.now() + 0.5
        load.until(
            lambda r: all(count >= 3 for count in _right_answers(r.between(back, back + 600)).values()), 60
        )
        report = load.stop()
    print(report.table())
    assert report.failed >= 20, report.table()
    # Kinds that send all the time all notice; the 5 s requests may be drained by the application.
    noticed = {r.kind for r in report.failures}
    assert {"keep-alive", "fresh", "post", "websocket"} <= noticed, report.table()
    assert {r.outcome for r in report.failures} <= {"refused", "reset", "eof", "ws-close"}, report.table()
    assert all(r.ended >= stopped for r in report.failures), report.table()
    after = report.between(back, back + 600)
    assert after.failed == 0, f"{after.table()}\nsince the first healthy answer: {shop.logs()}"
    assert report.bad_answers == {}
    assert set(report.by_release) == {"v1"}
