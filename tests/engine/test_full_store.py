"""An engine whose image store is full: a second one, with a disk of its own that is far too small."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from backstay.adapters.docker import DockerEngine
from backstay.domain.secret import Secret
from backstay.errors import EngineError
from backstay.ports.engine import Login
from tests.world import World
from tests.world.commands import clean_environment, tool

pytestmark = pytest.mark.world
INSIDE = 'mount -t tmpfs none /run && "$@" & wait $!'
"""A shell as the first process of a namespace: nothing outlives it."""


@dataclass(frozen=True)
class Cramped:
    """The engine, and the disk that its images lie on."""

    engine: DockerEngine
    disk: Path

    def grow(self, size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.disk)], check=True)


@pytest.fixture
def cramped() -> Iterator[Cramped]:
    with tempfile.TemporaryDirectory(prefix="bse-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        disk = folder / "data"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], check=True)
        settings = {
            "hosts": [f"unix://{folder}/docker.sock"], "group": "root", "data-root": str(disk), "bridge": "none",
            "exec-root": str(folder / "exec"), "pidfile": str(folder / "engine.pid"), "iptables": False,
            "storage-driver": "vfs",
        }  # fmt: skip
        (folder / "daemon.json").write_text(json.dumps(settings))
        namespaces = ["--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child", "--mount-proc"]
        argv = [tool("unshare"), *namespaces, "sh", "-c", INSIDE, "sh", tool("dockerd")]
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(
                [*argv, "--config-file", str(folder / "daemon.json")], env=clean_environment(),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
            ) as process,
        ):  # fmt: skip
            try:
                engine = DockerEngine(f"unix://{folder}/docker.sock")
                _await(engine, folder / "log")
                yield Cramped(engine, disk)
            finally:
                process.kill()
                process.wait()
        subprocess.run(["umount", "-l", str(disk)], check=True)


def _await(engine: DockerEngine, log: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            engine.info()
            return
        except EngineError:
            assert time.monotonic() < end, log.read_text(errors="replace")[-2000:]
            time.sleep(0.1)


def test_a_pull_onto_a_full_disk_says_so_and_works_once_there_is_room(
    shop_images: World, cramped: Cramped
) -> None:
    registry = shop_images.registry
    login = Login(registry.user, Secret(registry.password))
    image = f"{registry.address}/shop-frontend"
    digest = cramped.engine.digest(image, "v1", login)
    with pytest.raises(EngineError) as full:
        cramped.engine.pull(image, "v1", digest, login)
    assert "no space left on device" in full.value.message and image in full.value.message
    assert full.value.hint and "docker system df" in full.value.hint
    assert cramped.engine.held(image, digest) is None, "half an image is none"
    cramped.grow("2g")
    assert cramped.engine.held(image, digest) is None
    assert cramped.engine.pull(image, "v1", digest, login) == cramped.engine.held(image, digest)
