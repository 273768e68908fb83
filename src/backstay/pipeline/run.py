"""A run: one deployment being worked on, and the world it works in."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from backstay.domain.deployment import Deployment, DeploymentState, Wish
from backstay.domain.environment import Environment
from backstay.domain.plan import Plan
from backstay.domain.release import Release
from backstay.domain.secret import Secret, redact
from backstay.domain.slot import Slots
from backstay.errors import Aborted, BackstayError, CheckFailed, LeaseLost, StepFailed
from backstay.pipeline.secret import needed
from backstay.ports.clock import Clock
from backstay.ports.cluster import Clusters
from backstay.ports.database import Database
from backstay.ports.engine import Engine, Login
from backstay.ports.host import Host
from backstay.ports.leftovers import Leftovers, NoLeftovers
from backstay.ports.linter import Linter
from backstay.ports.prober import Prober
from backstay.ports.router import Router
from backstay.ports.scratch import Scratches
from backstay.ports.secrets import SecretSource
from backstay.ports.store import Store

POLL_S = 0.1
"""How often a waiting step looks for a person's wish: half of the 200 ms promised for a flip by hand."""


class RolledBackByHand(StepFailed):
    """Somebody asked for the rollback of a deployment that bakes."""


class WorkerDied(StepFailed):
    """The worker died before the release was proven; that says nothing about the release."""


@dataclass(frozen=True, slots=True)
class World:
    """The ports, wired. `home` is the state folder."""

    store: Store
    engine: Engine
    router: Router
    prober: Prober
    database: Database
    secrets: SecretSource
    clock: Clock
    host: Host
    home: str
    scratches: Scratches
    linter: Linter
    clusters: Clusters
    leftovers: Leftovers = field(default_factory=NoLeftovers)


@dataclass
class Run:
    """One deployment in work. Everything that must outlive this process goes through the store."""

    deployment: Deployment
    plan: Plan
    environment: Environment
    token: int
    nonce: str
    world: World
    lost: threading.Event = field(default_factory=threading.Event)
    decided_at: float | None = None
    _secrets: Mapping[str, Secret] | None = None

    @property
    def id(self) -> str:
        return self.deployment.id

    @property
    def release(self) -> Release:
        return self.plan.release

    @property
    def secrets(self) -> Mapping[str, Secret]:
        """The environment's secrets, read once, when first needed."""
        if self._secrets is None:
            self._secrets = self.world.secrets.read()
        return self._secrets

    def secrets_for(self, names: Iterable[str]) -> dict[str, Secret]:
        """The named secrets. StepFailed, which names all that are missing."""
        try:
            return needed(self.environment, self.secrets, names)
        except CheckFailed as missing:
            raise StepFailed(missing.message, hint=missing.hint) from missing

    @property
    def login(self) -> Login | None:
        source = self.environment.registry
        if source is None:
            return None
        found = self.secrets_for((source.username_secret, source.password_secret))
        return Login(found[source.username_secret].reveal(), found[source.password_secret])

    @property
    def slots(self) -> Slots:
        return self.world.store.slots(self.environment.app, self.environment.name)

    def save_slots(self, slots: Slots) -> None:
        self.world.store.save_slots(self.token, self.environment.app, self.environment.name, slots)

    def tell(self, kind: str, message: str, *, step: str | None = None, **data: Any) -> None:
        """Append an event, with every secret value taken out of its message."""
        self.world.store.tell(self.token, self.id, kind, self.redact(message), step=step, data=data)

    def redact(self, text: str) -> str:
        """`text` without secret values, as far as these can be read."""
        return redact(text, self._hidden() or ())

    def output_of(self, container: str, lines: int) -> list[str]:
        """The last lines that an application printed, without secret values; withheld where nobody knows these."""
        if self._hidden() is None:
            return ["(withheld: the secrets that may be in it cannot be read)"]
        return [self.redact(line) for line in self.world.engine.logs(container, lines)]

    def _hidden(self) -> Collection[Secret] | None:
        try:
            return self.secrets.values()
        except BackstayError:
            return None

    def move(self, state: DeploymentState, **fields: Any) -> None:
        self.deployment = self.world.store.move(self.token, self.id, state, **fields)

    def result(self, step: str) -> Mapping[str, Any]:
        """What an earlier step found or made, read from the journal; empty when it did not run."""
        for record in self.world.store.steps(self.id):
            if record.name == step:
                return record.result
        return {}

    def heed(self) -> None:
        """Stop here if somebody asked us to, or took the environment over. Called between acts and in waits."""
        if self.lost.is_set():
            raise LeaseLost(f"deployment {self.id} lost the lease on {self.environment.name}")
        wish = self.world.store.wish(self.id)
        if wish is Wish.ABORT:
            raise Aborted("aborted on request")
        if wish is Wish.ROLLBACK:
            raise RolledBackByHand("rolled back by hand")

    def pause(self, seconds: float, heed: bool = True) -> None:
        """Wait, but heed wishes meanwhile."""
        end = self.world.clock.monotonic() + seconds
        while (left := end - self.world.clock.monotonic()) > 0:
            if heed:
                self.heed()
            self.world.clock.sleep(min(POLL_S, left))

    def labels(self, component: str | None = None, slot: str | None = None) -> dict[str, str]:
        """The labels of everything this run makes; they record birth, not who owns it now."""
        labels = {
            "backstay.app": self.environment.app,
            "backstay.environment": self.environment.name,
            "backstay.deployment": self.id,
            "backstay.release": self.release.id,
            "backstay.token": str(self.token),
        }
        if component:
            labels["backstay.component"] = component
        if slot:
            labels["backstay.slot"] = slot
        return labels
