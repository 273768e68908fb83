"""An application without dependencies, as plain processes behind the real command line and router."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from backstay.adapters.haproxy import HaproxyRouter
from backstay.adapters.process import ProcessEngine
from backstay.adapters.store import SqlReader, open_reader
from backstay.ports.engine import Container
from devtools.demo.host import workers_of
from tests.load.control import Load
from tests.load.plan import LoadPlan
from tests.shop import Answer, free_port, port_range

CONFIG = """\
app: {app}
components:
  web:
    command: [{python}, serve.py]
    workdir: releases/{{version}}
    port: 8000
    health: {{path: /health, deadline: 5s, interval: 100ms}}
    secrets: [WORD]
    migrate: [{python}, migrate.py]
    stop_grace: 5s
routes:
  - {{path: /, component: web}}
smoke:
  - {{name: root, path: /, expect: {{status: 200, body: "</html>"}}}}
environments:
  dev:
    engine: process
    router: {{bind: "127.0.0.1:{port}"}}
    ports: "{ports}"
    policy: {{bake: {bake}}}
    secrets: {{file: secrets.env}}
"""

SERVE = """
import http.server, json, os, signal, sys, threading, time

VERSION = os.environ["VERSION"]
RULES = json.load(open("rules.json"))
BEGAN = time.monotonic()

class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/health" and time.monotonic() - BEGAN > RULES.get("hangs_after_s", 1e9):
            time.sleep(60)
        while self.path == "/" and os.path.exists("../held"):
            time.sleep(0.05)
        status = 503 if self.path == "/health" and RULES.get("sick") else 200
        body = json.dumps({"version": VERSION}).encode() if self.path == "/version" else b"<html></html>"
        self.send_response(status)
        self.send_header("X-Shop-Version", VERSION)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

class Site(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass  # a client that hangs up is not worth a line

print("serving", VERSION, "with", os.environ["WORD"], flush=True)
if "dies_after_s" in RULES:
    threading.Timer(RULES["dies_after_s"], lambda: os._exit(3)).start()
signal.signal(signal.SIGTERM, lambda *_: RULES.get("stubborn") or os._exit(0))
Site(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
"""

MIGRATE = """
import json, os, sys, time

rules = json.load(open("rules.json"))
with open(os.path.join("..", "migrations"), "a") as told:
    told.write(os.environ["VERSION"] + " began\\n")
time.sleep(rules.get("migrates_for_s", 0))
with open(os.path.join("..", "migrations"), "a") as told:
    told.write(os.environ["VERSION"] + " ended\\n")
sys.exit(rules.get("migration_ends_with", 0))
"""


@dataclass
class PlainApp:
    """One environment in a folder of its own. Used as a context manager, it leaves nothing behind."""

    name: str
    bake: str = "2s"
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="bs-")))
    port: int = field(default_factory=free_port)
    ports: str = field(default_factory=port_range)

    def __enter__(self) -> Self:
        (self.folder / "backstay.yml").write_text(
            CONFIG.format(
                app=self.name,
                python=sys.executable,
                port=self.port,
                bake=self.bake,
                ports=self.ports,
            )
        )
        secrets = self.folder / "secrets.env"
        secrets.touch(mode=0o600)
        secrets.write_text("WORD=w0rd-73xq\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pid in workers_of(self.home):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.router.stop()
        for process in self.processes():
            self.engine.remove(process.id)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def home(self) -> Path:
        return self.folder / "h"

    @property
    def engine(self) -> ProcessEngine:
        return ProcessEngine(self.home / "process")

    def release(self, version: str, **rules: Any) -> None:
        """Put a version into its folder. Rules: sick, stubborn (deaf to SIGTERM), hangs_after_s, dies_after_s,
        migrates_for_s, migration_ends_with."""
        folder = self.folder / "releases" / version
        folder.mkdir(parents=True)
        (folder / "serve.py").write_text(SERVE)
        (folder / "migrate.py").write_text(MIGRATE)
        (folder / "rules.json").write_text(json.dumps(rules))

    @property
    def held(self) -> Path:
        """While this file is there, no version answers with its page."""
        return self.folder / "releases" / "held"

    @property
    def migrations(self) -> list[str]:
        """What the migrations wrote, in order."""
        return (self.folder / "releases" / "migrations").read_text().splitlines()

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "BACKSTAY_HOME": str(self.home), "PYTHONWARNINGS": "error"}

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "backstay", *words, "--config", str(self.folder / "backstay.yml")]

    def run(self, *words: str) -> Answer:
        """Run `backstay …` to its end."""
        done = subprocess.run(
            self.argv(*words),
            env=self.env,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start `backstay …` and leave it running."""
        return subprocess.Popen(
            self.argv(*words), env=self.env, cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def history(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("history", "dev", "--json").out)
        return found

    def deploy(self, version: str, *words: str) -> Answer:
        return self.run("deploy", "dev", "--version", version, "--json", *words)

    def status(self) -> dict[str, Any]:
        answer = self.run("status", "dev", "--json")
        assert answer.status == 0, answer.err
        found: dict[str, Any] = json.loads(answer.out)
        return found

    @property
    def router(self) -> HaproxyRouter:
        return HaproxyRouter(self.home / "router" / f"{self.name}.dev", self.name, "dev")

    def reader(self) -> SqlReader:
        return open_reader(self.home / "state.db")

    def states(self) -> list[str]:
        """Of all deployments, newest first; read without a command, so that it can be asked often."""
        with self.reader() as store:
            return [d.state.value for d in reversed(store.history(self.name, "dev"))]

    def step(self) -> str | None:
        """The step at which the deployment under way is; None when there is none."""
        with self.reader() as store:
            newest = store.history(self.name, "dev")[-1]
            steps = store.steps(newest.id)
        return steps[-1].name if steps and not newest.state.is_final else None

    def serving(self) -> str | None:
        live = self.status()["live"]
        return live["release"] if live else None

    def processes(self) -> list[Container]:
        return self.engine.find({"backstay.app": self.name})

    def load(self) -> Load:
        plan = LoadPlan(
            "127.0.0.1",
            self.port,
            get_path="/version",
            page_path="/",
            keep_alive=3,
            fresh=3,
            posts=0,
            slow=0,
            websockets=0,
        )
        return Load(plan)
