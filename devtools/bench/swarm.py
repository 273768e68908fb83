"""A single-node Swarm to compare with, in namespaces of its own.

The test world's engine keeps containers alive without its daemon, and an engine that does so refuses to be a
Swarm. So the same engine binary runs a second time, with network, mounts and process ids of its own: when its
first process ends, nothing of it is left on the machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from devtools.bench.environment import BenchError
from tests.world import World
from tests.world.commands import clean_environment, run, tool
from tests.world.errors import WorldError

START_S = 60.0
COMMAND_S = 180.0
IMAGE = "bench-frontend"
INSIDE = 'ip link set lo up && mount -t tmpfs none /run && "$@" & wait $!'
"""A shell as the first process: it reaps what the engine's own children leave behind."""


class Swarm:
    """A Swarm of one node with one service of the shop's frontend. As a context manager it leaves nothing behind."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._folder = Path(tempfile.mkdtemp(prefix="bsw-"))
        self._group = f"backstay-swarm-{os.getpid()}"
        self._env = {"DOCKER_HOST": f"unix://{self._folder}/docker.sock", "DOCKER_CONFIG": str(self._folder)}
        self._engine: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Swarm:
        try:
            self._start_engine()
            self._copy_images()
            self.docker("swarm", "init", "--advertise-addr", "127.0.0.1")
            words = ["--name", "web", "--replicas", "1", "--no-resolve-image"]
            self.docker("service", "create", "--quiet", *words, f"{IMAGE}:v1")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.docker("swarm", "leave", "--force")
        finally:
            self._end()

    def rollback_s(self) -> float:
        """Update the service to v2, then the seconds that `docker service rollback` takes to say it is done."""
        self.docker("service", "update", "--quiet", "--no-resolve-image", "--image", f"{IMAGE}:v2", "web")
        began = time.monotonic()
        self.docker("service", "rollback", "--quiet", "web")
        took = time.monotonic() - began
        serving = self.docker(
            "service", "inspect", "--format", "{{.Spec.TaskTemplate.ContainerSpec.Image}}", "web"
        )
        if serving.strip() != f"{IMAGE}:v1":
            raise BenchError(f"after its rollback the service has {serving.strip()}")
        return took

    def docker(self, *words: str) -> str:
        """Run the docker client against this engine; BenchError when it fails."""
        try:
            return run([tool("docker"), *words], env=self._env, seconds=COMMAND_S)
        except WorldError as error:
            raise BenchError(str(error)) from error

    def _start_engine(self) -> None:
        settings = self._folder / "daemon.json"
        settings.write_text(json.dumps(self._settings()), encoding="utf-8")
        log = (self._folder / "engine.log").open("wb")
        namespaces = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        with log:
            self._engine = subprocess.Popen(
                [tool("unshare"), *namespaces, "sh", "-c", INSIDE, "sh", tool("dockerd"), "--config-file", settings],
                env=clean_environment(),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
            )  # fmt: skip
        deadline = time.monotonic() + START_S
        while not self._answers():
            if time.monotonic() > deadline or self._engine.poll() is not None:
                said = (self._folder / "engine.log").read_text(errors="replace").splitlines()[-15:]
                raise BenchError("the engine for Swarm does not answer:\n" + "\n".join(said))
            time.sleep(0.1)

    def _settings(self) -> dict[str, object]:
        return {
            "hosts": [self._env["DOCKER_HOST"]],
            "group": "root",
            "data-root": str(self._folder / "data"),
            "exec-root": str(self._folder / "exec"),
            "pidfile": str(self._folder / "engine.pid"),
            "bridge": "none",
            "iptables": False,
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "cgroup-parent": f"/{self._group}",
            "shutdown-timeout": 5,
        }

    def _answers(self) -> bool:
        try:
            run([tool("docker"), "version", "--format", "{{.Server.Version}}"], env=self._env, seconds=15)
        except WorldError:
            return False
        return True

    def _copy_images(self) -> None:
        """Both versions from the world's engine, through a file, so that no pull is in any figure."""
        archive = self._folder / "images.tar"
        names = []
        for version in ("v1", "v2"):
            names.append(f"{IMAGE}:{version}")
            self._world.docker("tag", f"{self._world.registry.address}/shop-frontend:{version}", names[-1])
        try:
            self._world.docker("save", "-o", str(archive), *names)
        finally:
            self._world.docker("rmi", *names)
        self.docker("load", "-q", "-i", str(archive))
        archive.unlink()

    def _end(self) -> None:
        """End the engine in good order; the end of its first process takes everything in its namespaces along."""
        if self._engine is not None:
            self._stop_engine(self._engine)
        for top in (Path("/sys/fs/cgroup") / part / self._group for part in _controllers()):
            for group in sorted((p for p in top.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts)):
                group.rmdir()
            if top.is_dir():
                top.rmdir()
        shutil.rmtree(self._folder)

    @staticmethod
    def _stop_engine(engine: subprocess.Popen[bytes]) -> None:
        engine.kill()
        engine.wait(30)


def _controllers() -> list[str]:
    """The folders of the control group file system; `.` for the unified one."""
    return [".", *(entry.name for entry in Path("/sys/fs/cgroup").iterdir() if entry.is_dir())]
