"""An environment to check over doubles: everything is well until a story makes it otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from backstay.adapters.store import open_store
from backstay.domain.check import CheckResult
from backstay.domain.environment import Bind, DatabaseSource, Environment, RegistrySource
from backstay.domain.policy import BUILT_IN, CheckSet, Level, Policy
from backstay.domain.release import Component
from backstay.pipeline.check import run_checks
from backstay.pipeline.checks import Subject, checks_of
from backstay.pipeline.checks.subject import Wanted
from backstay.ports.store import Store
from backstay.testing import (
    FakeClock,
    FakeDatabase,
    FakeEngine,
    FakeHost,
    FakeRouter,
    FakeScratches,
    FakeSecrets,
)

MIB = 2**20
URL = "postgresql://shop:hunter2secret@db.example:5433/shop"
PASSWORD = "registry-hunter3"


@dataclass
class Site:
    """The doubles, the settings, and the checks run over them."""

    store: Store
    home: Path
    clock: FakeClock
    engine: FakeEngine = field(default_factory=FakeEngine)
    router: FakeRouter = field(default_factory=FakeRouter)
    database: FakeDatabase = field(default_factory=FakeDatabase)
    scratches: FakeScratches = field(default_factory=FakeScratches)
    host: FakeHost = field(default_factory=FakeHost)
    secrets: FakeSecrets = field(
        default_factory=lambda: FakeSecrets(
            DATABASE_URL=URL, KEY="k-123456", REGISTRY_USER="ci", REGISTRY_PASSWORD=PASSWORD
        )
    )
    policy: Policy = BUILT_IN[Level.STANDARD]
    bind: Bind = field(default_factory=lambda: Bind("127.0.0.1", 8080))
    owns_network: bool = True
    version: str | None = "v2"
    token: int | None = None
    components: dict[str, Component] = field(
        default_factory=lambda: {
            "backend": Component(
                "backend", "reg.example/shop-backend", "", "", 8000, secrets=("DATABASE_URL", "KEY"),
                migrate=("python", "manage.py"), memory=512 * MIB, volumes=("media:/srv", "/srv/files:/files"),
            ),
            "frontend": Component("frontend", "reg.example/shop-frontend", "", "", 80),
        }
    )  # fmt: skip

    @property
    def environment(self) -> Environment:
        return Environment(
            app="shop", name="uat", network="shop-uat", owns_network=self.owns_network, bind=self.bind,
            policy=self.policy, ports=(20000, 20999), backups=str(self.home / "backups"),
            secrets_file="/etc/uat.env",
            database=DatabaseSource("DATABASE_URL", "DATABASE_URL"),
            registry=RegistrySource("REGISTRY_USER", "REGISTRY_PASSWORD"),
        )  # fmt: skip

    @property
    def subject(self) -> Subject:
        named = {} if self.version is None else {
            name: Wanted(replace(c, version=self.version), self.version) for name, c in self.components.items()
        }  # fmt: skip
        return Subject(
            environment=self.environment, components=self.components, images=named, id="1234",
            store=self.store, engine=self.engine, router=self.router, database=self.database,
            read_secrets=self.secrets.read, host=self.host, clock=self.clock, home=str(self.home),
            scratches=self.scratches, token=self.token,
        )  # fmt: skip

    def checks(self, wanted: CheckSet = CheckSet.STANDARD) -> dict[str, CheckResult]:
        """Results by id."""
        self.policy = replace(self.policy, checks=wanted)
        subject = self.subject
        return {r.id: r for r in run_checks(checks_of(subject), self.clock, subject.redact)}

    def faults(self) -> dict[str, CheckResult]:
        """Only those that are not well."""
        return {id_: result for id_, result in self.checks().items() if not result.ok}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    clock = FakeClock()
    store = open_store(tmp_path / "state.db", clock=clock)
    yield Site(store, tmp_path, clock)
    store.close()
