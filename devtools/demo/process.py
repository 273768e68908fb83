"""`./dev demo`: the story without Docker, on plain processes, a real HAProxy and a real PostgreSQL.

`python -m devtools.demo.process VENV`, where VENV has what the shop needs. Everything lies in a temporary folder.
Ends 0 only if everything went as it must; leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final, Self

from rich.console import Console

from backstay.adapters.haproxy import HaproxyRouter
from backstay.adapters.process import ProcessEngine
from devtools.demo import releases
from devtools.demo.host import Tools, find_tools, left_behind, workers_of
from devtools.demo.postgres import DemoError, Postgres
from devtools.demo.story import new_console, play, say
from devtools.demo.table import show
from tests.load.control import Load
from tests.load.plan import LoadPlan
from tests.shop import free_port

APP: Final = "demo"
CONFIG: Final = """\
app: {app}
components:
  backend:
    command: [{python}, -m, shop.serve]
    workdir: releases/{{version}}/backend
    port: 8000
    health: {{path: /api/v1/health/, headers: {{Host: localhost}}, deadline: 6s, interval: 200ms}}
    env: {{SHOP_HOST: 127.0.0.1}}
    secrets: [DATABASE_URL, SECRET_KEY]
    migrate: [{python}, manage.py, migrate, --noinput]
  frontend:
    command: [{python}, serve.py]
    workdir: releases/{{version}}/frontend
    port: 8080
    health: {{path: /}}
routes:
  - {{path: /api/, component: backend}}
  - {{path: /, component: frontend}}
database: {{url_secret: DATABASE_URL}}
smoke:
  - {{name: products, path: /api/v1/products/, expect: {{status: 200}}}}
  - {{name: api root, path: /api/v1/, expect: {{status: 200, json: {{"$.database": connected}}, under: 2s}}}}
environments:
  dev:
    engine: process
    router: {{bind: "127.0.0.1:{port}"}}
    policy: {{bake: 5s, rehearsal: {rehearsal}}}
    secrets: {{file: secrets.env}}
"""


@dataclass
class ProcessStage:
    """The shop on plain processes. Used as a context manager, it ends all of them."""

    folder: Path
    tools: Tools
    python: Path
    postgres: Postgres
    port: int = field(default_factory=free_port)

    def __enter__(self) -> Self:
        releases.build(self.folder / "releases")
        self._configure("off")
        file = self.folder / "secrets.env"
        file.touch(mode=0o600)
        file.write_text(f"DATABASE_URL={self.postgres.create(APP)}\nSECRET_KEY={secrets.token_hex(24)}\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Also in the middle of a deployment: end its worker first, so that nothing new is started."""
        for entry in workers_of(self.home):
            with contextlib.suppress(ProcessLookupError):
                os.kill(entry, signal.SIGKILL)
        HaproxyRouter(self.home / "router" / f"{APP}.dev", APP, "dev").stop()
        engine = ProcessEngine(self.home / "process")
        for process in engine.find({"backstay.app": APP}):
            engine.remove(process.id)

    def rehearse_from_now_on(self) -> None:
        self._configure("always")

    def _configure(self, rehearsal: str) -> None:
        words = CONFIG.format(app=APP, python=self.python, port=self.port, rehearsal=rehearsal)
        (self.folder / "backstay.yml").write_text(words)

    @property
    def home(self) -> Path:
        return self.folder / "state"

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "PATH": self.tools.path, "BACKSTAY_HOME": str(self.home)}

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "backstay", *words, "--config", str(self.folder / "backstay.yml")]

    def serving(self) -> dict[str, str] | None:
        done = subprocess.run(
            self.argv("status", "dev", "--json"), env=self.env, capture_output=True, text=True, check=False
        )
        live = json.loads(done.stdout)["live"] if done.returncode == 0 else None
        return {name: each["version"] for name, each in live["components"].items()} if live else None

    def load(self, **changes: Any) -> Load:
        return Load(LoadPlan("127.0.0.1", self.port, **changes))

    def orders(self) -> int:
        return int(self.postgres.query("SELECT count(*) FROM catalog_order", APP))


def main(argv: list[str]) -> int:
    signal.signal(signal.SIGTERM, _interrupt)
    console = new_console()
    try:
        return _demonstrate(Path(argv[0]).absolute(), console)
    except DemoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; everything was ended and removed", file=sys.stderr)
        return 130


def _demonstrate(venv: Path, console: Console) -> int:
    began = time.monotonic()
    tools = find_tools(venv)
    say(console, "The example shop, as plain processes of this host, behind a real router and database:")
    say(console, tools.told())
    folder = Path(tempfile.mkdtemp(prefix="backstay-demo-"))
    folder.chmod(0o711)  # PostgreSQL's user must get to its own folder in it
    try:
        with (
            Postgres(tools.postgres, folder / "postgres", free_port()) as postgres,
            ProcessStage(folder, tools, venv / "bin" / "python", postgres) as stage,
        ):
            told = play(stage, console)
        left = left_behind(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(told, time.monotonic() - began, console)
    for process in left:
        say(console, f"[bold red]✗[/] left behind: {process}")
    if not left:
        say(console, "[dim]No process and no file was left behind.[/]")
    return 1 if told.faults or left else 0


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
