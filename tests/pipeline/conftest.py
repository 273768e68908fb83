"""A whole environment over doubles, with the real store underneath."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from backstay.adapters.store import open_store
from backstay.domain.deployment import Deployment, DeploymentKind, DeploymentState
from backstay.domain.environment import Application, Bind, DatabaseSource, Environment
from backstay.domain.lease import Lease, Owner
from backstay.domain.plan import Plan, Restoration
from backstay.domain.policy import BUILT_IN, Level, Policy
from backstay.domain.release import Component, Health, Route
from backstay.pipeline.deploy import deploy
from backstay.pipeline.record import BEGUN, as_record
from backstay.pipeline.resolve import plan_deploy, plan_restore, plan_rollback
from backstay.pipeline.restore import restore
from backstay.pipeline.rollback import rollback
from backstay.pipeline.run import Run, World
from backstay.pipeline.standby import gone
from backstay.pipeline.times import rfc3339
from backstay.ports.store import Store
from backstay.testing import (
    FakeClock,
    FakeClusters,
    FakeDatabase,
    FakeEngine,
    FakeHost,
    FakeLinter,
    FakeProber,
    FakeRouter,
    FakeScratches,
    FakeSecrets,
)

OWNER = Owner("ann", "here", 1, 1, "boot")
PUBLIC_PORT = 8080
PUBLIC = Bind("127.0.0.1", PUBLIC_PORT)
RUNBOOKS = {DeploymentKind.DEPLOY: deploy, DeploymentKind.ROLLBACK: rollback, DeploymentKind.RESTORE: restore}


@dataclass
class Town:
    """Everything a story needs: the doubles, the store, and verbs that act like the commands do."""

    store: Store
    folder: Path
    clock: FakeClock = field(default_factory=FakeClock)
    engine: FakeEngine = field(default_factory=FakeEngine)
    router: FakeRouter = field(default_factory=FakeRouter)
    prober: FakeProber = field(default_factory=FakeProber)
    database: FakeDatabase = field(default_factory=FakeDatabase)
    host: FakeHost = field(default_factory=FakeHost)
    scratches: FakeScratches = field(default_factory=FakeScratches)
    linter: FakeLinter = field(default_factory=FakeLinter)
    secrets: FakeSecrets = field(
        default_factory=lambda: FakeSecrets(
            DATABASE_URL="postgresql://u:hunter2secret@db/shop", KEY="k-123456"
        )
    )
    policy: Policy = BUILT_IN[Level.BASIC]
    bind: Bind = PUBLIC
    network: str = "shop-dev"
    number: int = 0
    clusters: FakeClusters = field(init=False)

    def __post_init__(self) -> None:
        # Looked up each time: the crash harness puts another set in its place.
        self.scratches.made = lambda url: self.database.empty.add(url)
        self.clusters = FakeClusters(self.database)
        self.prober.slot = lambda: self.router.live.value if self.router.live else ""

    @property
    def environment(self) -> Environment:
        return Environment(
            app="shop", name="dev", network=self.network, owns_network=True, bind=self.bind,
            policy=self.policy, ports=(20000, 20999), backups=str(self.folder),
            database=DatabaseSource("DATABASE_URL", "DATABASE_URL"),
        )  # fmt: skip

    @property
    def application(self) -> Application:
        backend = Component(
            "backend", "reg/shop-backend", "", "", 8000, Health("/api/health/"),
            secrets=("DATABASE_URL", "KEY"), migrate=("migrate",),
        )  # fmt: skip
        frontend = Component("frontend", "reg/shop-frontend", "", "", 80)
        routes = (Route("/api/", "backend"), Route("/", "frontend"))
        return Application(
            self.environment, {"backend": backend, "frontend": frontend}, routes, None, "backstay.yml"
        )

    @property
    def world(self) -> World:
        return World(
            self.store, self.engine, self.router, self.prober, self.database, self.secrets, self.clock,
            self.host, str(self.folder), self.scratches, self.linter, self.clusters,
        )  # fmt: skip

    def begin(self, plan: Plan) -> tuple[Run, Lease]:
        """Record the plan under a new lease, as the client does."""
        self.number += 1
        deployment = Deployment(
            id=f"d{self.number}", app="shop", environment="dev", kind=plan.kind, state=DeploymentState.PENDING,
            version=plan.release.version, release=plan.release.id,
            previous=plan.previous.id if plan.previous else None, token=None, requested_by="ann@here",
            created_at=rfc3339(self.clock.now()),
        )  # fmt: skip
        record = {**as_record(plan, "abc", "backstay.yml", {}), BEGUN: asdict(self.clock.uptime())}
        lease = self.store.begin(deployment, plan.release, self.environment, OWNER, "test", record)
        run = Run(
            replace(deployment, token=lease.token), plan, self.environment, lease.token, "abc", self.world
        )
        run.move(DeploymentState.RUNNING)
        return run, lease

    def deploy(
        self,
        version: str,
        *only: str,
        force: bool = False,
        maintenance: bool = False,
        unused: tuple[str, ...] = (),
    ) -> Deployment:
        plan = plan_deploy(
            self.application, version, only, force, self.store, lambda i, v: self.engine.digest(i, v, None)
        )
        return self.carry_out(replace(plan, maintenance=maintenance, unused=unused))

    def restore(self, backup: str, accept_loss: int | None = None, version: str | None = None) -> Deployment:
        return self.carry_out(
            plan_restore("shop", "dev", Restoration(backup, accept_loss), version, self.store)
        )

    def rollback(self, component: str = "all", to: str | None = None, *, force: bool = False) -> Deployment:
        gone_of = partial(gone, self.prober, lambda: self.engine)
        return self.carry_out(plan_rollback("shop", "dev", component, to, force, self.store, gone_of))

    def carry_out(self, plan: Plan) -> Deployment:
        """What the worker does with a plan, to its end."""
        run, lease = self.begin(plan)
        RUNBOOKS[plan.kind](run)
        self.store.release_lease(lease)
        ended = self.store.deployment(run.id)
        assert ended is not None
        return ended

    @property
    def serving(self) -> dict[str, str]:
        """Component to version, as the router and the store agree; an empty dict when nothing serves."""
        slots = self.store.slots("shop", "dev")
        assert self.router.live == slots.live or slots.live is None
        return {n: p.version for n, p in slots.serving.placements.items()} if slots.serving else {}

    def kinds(self, deployment: str) -> list[str]:
        return [event.kind for event in self.store.events(deployment)]


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    clock = FakeClock()
    store = open_store(tmp_path / "state.db", clock=clock)
    yield Town(store, tmp_path, clock)
    store.close()
