"""The smallest application on Docker that makes use of the whole runbook, for tests that deploy it very often.

One component that starts in a quarter of a second, a migration, a small database that is backed up. It is a shop in all
that a test sees of it: `deploy`, `status`, `load`.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.load.control import Load
from tests.load.plan import LoadPlan
from tests.shop import Shop
from tests.world import World, images

CONFIG: Final = """\
app: {app}
components:
  web:
    image: ${{REGISTRY}}/page-web
    port: 8000
    health: {{path: /health, deadline: {deadline}, interval: 50ms}}
    migrate: [python3, migrate.py]
    env: {{MIGRATION_S: "{migration_s}"}}
    memory: 64m
    stop_grace: 5s
routes:
  - {{path: /, component: web}}
database: {{url_secret: DATABASE_URL, backup_url_secret: BACKUP_URL}}
registry: {{username_secret: REGISTRY_USER, password_secret: REGISTRY_PASSWORD}}
smoke:
  - {{name: root, path: /, expect: {{status: 200, body: "</html>"}}}}
environments:
  dev:
    engine: docker
    hosts: [local]
    router: {{bind: "127.0.0.1:{port}"}}
    ports: "{ports}"
    policy: {{bake: {bake}{policy}}}
    secrets: {{file: secrets.env}}
"""
VERSIONS: Final[dict[str, dict[str, Any]]] = {
    "v1": {},
    "v2": {},
    "v3": {"sick": True},
    "hungry": {"eats_after_s": 0, "listens_after_s": 5},
    "greedy": {"eats_after_visit_s": 2},
    "late": {"listens_after_s": 20},
}
"""What is wrong with each version: nothing, never healthy, out of memory at once, out of memory when it serves; and
nothing but that it takes its time to start."""

IMAGE: Final = Path(__file__).parent / "image"


def build(world: World, versions: tuple[str, ...] = ("v1", "v2")) -> None:
    """Build and push versions of the page; what is there already costs a moment."""
    for version in versions:
        rules = {"RULES": json.dumps(VERSIONS[version]), "VERSION": version, "BASE": world.base_image}
        images.build(world, IMAGE, f"page-web:{version}", rules)


@dataclass
class Page(Shop):
    """One environment of the page in a folder of its own. Used as a context manager, it leaves nothing behind."""

    bake: str = "500ms"
    deadline: str = "5s"
    migration_s: str = "0.1"
    policy: str = ""
    extra: dict[str, str] = field(default_factory=dict)
    """Variables of the environment for every command."""

    @property
    def env(self) -> dict[str, str]:
        return {**super().env, **self.extra}

    @property
    def usual(self) -> dict[str, str]:
        """What stories change, as it is without them."""
        return {"bake": "500ms", "deadline": "5s", "migration_s": "0.1", "policy": ""}

    def configure(self, **changes: Any) -> None:
        for key, value in changes.items():
            setattr(self, key, value)
        (self.folder / "backstay.yml").write_text(
            CONFIG.format(
                app=self.name,
                port=self.port,
                bake=self.bake,
                deadline=self.deadline,
                migration_s=self.migration_s,
                policy=self.policy,
                ports=self.ports,
            )
        )

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start `backstay …` and leave it running; what it says is in `said`."""
        with self.said.open("wb") as said:
            return subprocess.Popen(
                self.argv(*words),
                env=self.env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    @property
    def said(self) -> Path:
        return self.folder / "said"

    def load(self, **changes: Any) -> Load:
        """The strict load client: connections that stay, and new ones."""
        plan: dict[str, Any] = {"keep_alive": 3, "fresh": 3, "slow": 0, **changes}
        plan |= {"get_path": "/version", "page_path": "/", "slow_path": "/slow", "posts": 0, "websockets": 0}
        return Load(LoadPlan("127.0.0.1", self.port, **plan))

    def version(self) -> str | None:
        """The release that serves, as `status` shows it."""
        live = self.status()["live"]
        return str(live["release"]) if live else None
