"""A private image registry with a password, on a loopback address."""

from __future__ import annotations

import base64
import json
import secrets
import urllib.error
import urllib.request
from pathlib import Path

from tests.world import processes
from tests.world.commands import run, tool
from tests.world.layout import Layout
from tests.world.state import Mark, RegistryPlan

USER = "ci"


def plan(port: int) -> RegistryPlan:
    return RegistryPlan(f"127.0.0.1:{port}", USER, secrets.token_hex(16))


def start(layout: Layout, registry: RegistryPlan, marker: str) -> Mark:
    """Write its configuration, password file and the client's credentials, and start it."""
    folder = layout.registry
    folder.mkdir(exist_ok=True)
    hashed = run([tool("htpasswd"), "-n", "-i", "-B", registry.user], stdin=registry.password)
    _private(folder / "htpasswd", hashed.strip() + "\n")
    _private(folder / "config.yml", json.dumps(_settings(folder, registry), indent=2))
    write_client_config(layout, registry)
    argv: list[str | Path] = [tool("docker-registry"), "serve", folder / "config.yml"]
    return processes.start(argv, layout.log("registry"), env={processes.MARKER_VARIABLE: marker})


def await_ready(layout: Layout, registry: RegistryPlan, mark: Mark) -> None:
    processes.await_service("registry", mark, lambda: answers(registry), layout.log("registry"))


def answers(registry: RegistryPlan) -> bool:
    """Whether it lets our user in, and nobody without a password."""
    return _status(registry, with_password=True) == 200 and _status(registry, with_password=False) == 401


def write_client_config(layout: Layout, registry: RegistryPlan) -> None:
    """The docker client's credentials, in the world's folder instead of the user's home."""
    layout.client_config.mkdir(exist_ok=True)
    entry = {registry.address: {"auth": _basic(registry)}}
    _private(layout.client_config / "config.json", json.dumps({"auths": entry}))


def _status(registry: RegistryPlan, *, with_password: bool) -> int:
    request = urllib.request.Request(f"http://{registry.address}/v2/")
    if with_password:
        request.add_header("Authorization", f"Basic {_basic(registry)}")
    # A proxy of the environment must not be asked for a loopback address.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code
    except OSError:
        return 0


def _basic(registry: RegistryPlan) -> str:
    return base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()


def _settings(folder: Path, registry: RegistryPlan) -> dict[str, object]:
    # JSON is YAML, and needs no quoting rules of our own.
    return {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": {"addr": registry.address, "secret": secrets.token_hex(16)},
        "auth": {"htpasswd": {"realm": "backstay-world", "path": str(folder / "htpasswd")}},
    }


def _private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
