"""The example shop as a user runs it: a configuration, secrets, a state folder, and the `backstay` command."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.load.control import Load
from tests.load.plan import LoadPlan
from tests.world import World

CONFIG = """\
app: {app}
components:
  backend:
    image: ${{REGISTRY}}/shop-backend
    port: 8000
    health: {{path: /api/v1/health/, headers: {{Host: localhost}}, deadline: {deadline}, interval: 200ms}}
    secrets: [DATABASE_URL, SECRET_KEY]
    env: {{SHOP_WORKERS: "2"}}
    migrate: [python, manage.py, migrate, --noinput]
    memory: 512m
    stop_grace: 10s
  frontend:
    image: ${{REGISTRY}}/shop-frontend
    port: 8080
    health: {{path: /}}
routes:
  - {{path: /api/, component: backend}}
  - {{path: /, component: frontend}}
database: {{url_secret: DATABASE_URL, backup_url_secret: BACKUP_URL}}
registry: {{username_secret: REGISTRY_USER, password_secret: REGISTRY_PASSWORD}}
smoke:{products}
  - {{name: api root, path: /api/v1/, expect: {{status: 200, json: {{"$.database": connected}}{under}}}}}
environments:
  dev:
    engine: docker
    hosts: [local]
    router: {{bind: "127.0.0.1:{port}"}}
    ports: "{ports}"
    policy: {{bake: {bake}, rehearsal: {rehearsal}}}
    secrets: {{file: secrets.env}}
    notify: {notify}
"""

PRODUCTS = """
  - {name: products, path: /api/v1/products/, expect: {status: 200}}"""
"""What v2 cannot answer any more on a database that v7 migrated."""


_RANGES = itertools.count(
    int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]),
    int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")),
)


def port_range() -> str:
    """A hundred ports for one environment, of which no other one that is up at the time has any: what has stopped for a
    moment finds its own free."""
    first = 21000 + next(_RANGES) % 80 * 100
    return f"{first}-{first + 99}"


@dataclass
class Answer:
    """What a command printed and how it ended."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines() if line.strip()]

    @property
    def last(self) -> dict[str, Any]:
        """The last JSON line: the deployment's document."""
        return self.lines[-1]

    @property
    def rehearsal(self) -> dict[str, Any]:
        """What the step of a deployment told about its rehearsal."""
        [told] = [line for line in self.lines if line.get("kind") == "rehearsal_ended"]
        found: dict[str, Any] = told["data"]
        return found


@dataclass
class Shop:
    """One environment of the shop in a folder of its own. Used as a context manager, it leaves nothing behind."""

    world: World
    name: str
    bake: str = "3s"
    deadline: str = "6s"
    under: str = ", under: 2s"
    notify: tuple[str, ...] = ()
    store: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    rehearsal: str = "off"
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="bs-")))
    port: int = 0
    ports: str = field(default_factory=port_range)

    def __enter__(self) -> Self:
        self.urls = self.world.create_database(self.name)
        self.port = self.port or free_port()
        self.configure()
        secrets = self.folder / "secrets.env"
        secrets.touch(mode=0o600)
        secrets.write_text(
            f"DATABASE_URL={self.urls['container']}\nBACKUP_URL={self.urls['host']}\nSECRET_KEY=k-{self.name}-73xq\n"
            f"REGISTRY_USER={self.world.registry.user}\nREGISTRY_PASSWORD={self.world.registry.password}\n"
        )
        return self

    def order(self) -> None:
        """Somebody buys something."""
        body = json.dumps({"product": 1, "quantity": 1}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api/v1/orders/", body)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            assert answer.status == 201

    def rehearse_from_now_on(self) -> None:
        self.configure(rehearsal="always")

    def configure(self, **changes: Any) -> None:
        """Write backstay.yml, with some of its values changed."""
        for key, value in changes.items():
            setattr(self, key, value)
        (self.folder / "backstay.yml").write_text(
            CONFIG.format(
                app=self.name,
                port=self.port,
                bake=self.bake,
                deadline=self.deadline,
                under=self.under,
                rehearsal=self.rehearsal,
                products=PRODUCTS if self.rehearsal != "off" else "",
                notify=json.dumps(self.notify),
                ports=self.ports,
            )
            + (f"store: {self.store}\n" if self.store else "")
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_worker()
        self.stop_router()
        for id_ in self.containers():
            self.world.docker("rm", "-f", id_)
        networks = self.world.docker(
            "network", "ls", "-q", "--filter", f"label=backstay.app={self.name}"
        ).split()
        for network in networks:
            self.world.docker("network", "rm", network)
        self.world.drop_database(self.name)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def env(self) -> dict[str, str]:
        return {
            **self.world.env(),
            "BACKSTAY_HOME": str(self.folder / "h"),
            "REGISTRY": self.world.registry.address,
            "PYTHONWARNINGS": "error",
            **self.variables,
        }

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "backstay", *words, "--config", str(self.folder / "backstay.yml")]

    def run(self, *words: str, seconds: float = 180) -> Answer:
        """Run `backstay …` to its end."""
        done = subprocess.run(
            self.argv(*words),
            env=self.env,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start `backstay …` and leave it running."""
        return subprocess.Popen(
            self.argv(*words),
            env=self.env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def deploy(self, version: str, *words: str) -> Answer:
        return self.run("deploy", "dev", "--version", version, "--json", *words)

    def status(self) -> dict[str, Any]:
        answer = self.run("status", "dev", "--json")
        assert answer.status == 0, answer.err
        found: dict[str, Any] = json.loads(answer.out)
        return found

    def history(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("history", "dev", "--json").out)
        return found

    def serving(self) -> dict[str, str] | None:
        """Component to version, as `status` shows it."""
        live = self.status()["live"]
        return {name: c["version"] for name, c in live["components"].items()} if live else None

    def containers(self) -> list[str]:
        return self.world.docker("ps", "-aq", "--filter", f"label=backstay.app={self.name}").split()

    def until(self, state: str, seconds: float = 60) -> dict[str, Any]:
        """Wait until the newest deployment is in `state`; its document."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            rows = self.history()
            if rows and rows[0]["state"] == state:
                return rows[0]
            time.sleep(0.1)
        raise AssertionError(f"never {state}: {self.history()[:1]}")

    def load(self, **changes: Any) -> Load:
        """The strict load client against this shop's public route."""
        return Load(LoadPlan("127.0.0.1", self.port, **changes))

    def orders(self) -> int:
        return int(self.world.query("select count(*) from catalog_order", self.name))

    def worker(self) -> int | None:
        active = self.status()["deployment"]
        return active["worker"]["pid"] if active and active["worker"] else None

    def end_worker(self) -> None:
        for pid in workers_of(self.folder / "h"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop_router(self) -> None:
        from backstay.adapters.haproxy import HaproxyRouter

        HaproxyRouter(self.folder / "h" / "router" / f"{self.name}.dev", self.name, "dev").stop()


def workers_of(home: Path) -> Iterator[int]:
    """Workers carry their state folder in their title."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                title = (folder / "cmdline").read_bytes().rstrip(b"\0").decode(errors="replace")
                if title.startswith("backstay worker ") and title.endswith(f" of {home}"):
                    yield int(folder.name)


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])
