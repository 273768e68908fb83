"""What people do without a deployment tool: `docker stop && docker rm && docker run` on one published port."""

from __future__ import annotations

import time
import urllib.request

from tests.load import Load, LoadPlan, Report
from tests.shop import free_port
from tests.world import World, WorldError

NAME = "backstay-bench-plain"
READY_S = 60.0


class PlainBackend:
    """The shop's backend in one container on a fixed port of this host. A context manager that leaves nothing."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.port = free_port()
        self._settings: list[str] = []

    def __enter__(self) -> PlainBackend:
        url = self._world.create_database("benchplain")["container"]
        self._settings = ["--add-host", "host.docker.internal:host-gateway"]
        for variable in (f"DATABASE_URL={url}", "SECRET_KEY=plain-63hw", "SHOP_WORKERS=2"):
            self._settings += ["-e", variable]
        migrate = ["python", "manage.py", "migrate", "--noinput"]
        self._world.docker("run", "--rm", *self._settings, self._image("v2"), *migrate)
        self._run("v1")
        return self

    def __exit__(self, *_: object) -> None:
        for id_ in self._world.docker("ps", "-aq", "--filter", f"name=^{NAME}$").split():
            self._world.docker("rm", "-f", id_)
        self._world.drop_database("benchplain")

    def replace(self, version: str) -> None:
        """Stop the one that serves, remove it, run the other; back when it answers. WorldError."""
        self._world.docker("stop", NAME)
        self._world.docker("rm", NAME)
        self._run(version)

    def _run(self, version: str) -> None:
        published = ["-p", f"127.0.0.1:{self.port}:8000"]
        self._world.docker("run", "-d", "--name", NAME, *published, *self._settings, self._image(version))
        deadline = time.monotonic() + READY_S
        while not self._is_ready():
            if time.monotonic() > deadline:
                raise WorldError(f"{NAME} does not answer after {READY_S:.0f} s")
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/v1/health/", headers={"Host": "localhost"}
        )
        try:
            with urllib.request.urlopen(asked, timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _image(self, version: str) -> str:
        return f"{self._world.registry.address}/shop-backend:{version}"


def replace_under_load(world: World, times: int, settled_s: float) -> Report:
    """The load's view of that many replacements, with a pause after each. WorldError, LoadError."""
    with PlainBackend(world) as backend, Load(LoadPlan("127.0.0.1", backend.port, page_path="")) as load:
        time.sleep(settled_s)
        for number in range(times):
            backend.replace(("v2", "v1")[number % 2])
            time.sleep(settled_s)
        return load.stop()
