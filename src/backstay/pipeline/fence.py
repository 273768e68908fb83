"""The fence: right before each act on engine, router or database, the store is asked whether the lease is still ours.

Law 5. The store refuses a stale token by itself; an engine knows no tokens, and a router only after it was told the
new one. What was sent a moment before the lease was lost cannot be called back: it is named in docs/lock.md.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from backstay.domain.environment import Bind
from backstay.domain.lease import Lease, still_ours
from backstay.domain.restore import Loss, Mark
from backstay.domain.secret import Secret
from backstay.domain.slot import Slot
from backstay.domain.verdict import Traffic
from backstay.errors import LeaseLost
from backstay.pipeline.run import World
from backstay.ports.cluster import Beside, Cluster, Clusters, Visitor
from backstay.ports.engine import Container, ContainerSpec, Engine, EngineInfo, Login, Manifest, Network
from backstay.ports.router import Hold, Router, RouterState, SlotRoutes
from backstay.ports.store import Reader


@dataclass(frozen=True, slots=True)
class Fence:
    """Lets the owner of `lease` act, until anybody else has it. `lost` is set then, for everybody who waits."""

    store: Reader
    lease: Lease
    lost: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """One cheap read. Raises LeaseLost; StoreError when the store does not tell, for then nobody may act."""
        ours = self.lease
        if not self.lost.is_set():
            held = self.store.lease(ours.app, ours.environment)
            if still_ours(ours, held):
                return
            self.lost.set()
        raise LeaseLost(
            f"the lease on {ours.environment} of {ours.app} with token {ours.token} is lost; nothing more is done",
            hint=f"backstay status {ours.environment} shows who acts now",
        )


def fenced(world: World, fence: Fence) -> World:
    """The same ports, with every act behind the fence."""
    return replace(
        world,
        engine=FencedEngine(world.engine, fence),
        router=FencedRouter(world.router, fence),
        clusters=FencedClusters(world.clusters, fence),
    )


@dataclass(frozen=True, slots=True)
class FencedEngine:
    """Implements ports.engine.Engine: questions pass, acts pass the fence first."""

    engine: Engine
    fence: Fence

    # ---- acts

    def pull(self, image: str, version: str, digest: str, login: Login | None) -> str:
        self.fence.check()
        return self.engine.pull(image, version, digest, login)

    def network(
        self, name: str, create: bool, labels: Mapping[str, str], *, internal: bool = False
    ) -> Network:
        self.fence.check()
        return self.engine.network(name, create, labels, internal=internal)

    def remove_network(self, name: str, labels: Mapping[str, str]) -> None:
        self.fence.check()
        self.engine.remove_network(name, labels)

    def run(self, spec: ContainerSpec) -> Container:
        self.fence.check()
        return self.engine.run(spec)

    def stop(self, container: str, grace_s: float) -> None:
        self.fence.check()
        self.engine.stop(container, grace_s)

    def remove(self, container: str) -> None:
        self.fence.check()
        self.engine.remove(container)

    # ---- questions

    def info(self) -> EngineInfo:
        return self.engine.info()

    def digest(self, image: str, version: str, login: Login | None) -> str:
        return self.engine.digest(image, version, login)

    def manifest(self, image: str, version: str, login: Login | None) -> Manifest:
        return self.engine.manifest(image, version, login)

    def sign_in(self, image: str, login: Login) -> None:
        self.engine.sign_in(image, login)

    def missing_bytes(self, image: str, digest: str, login: Login | None) -> int | None:
        return self.engine.missing_bytes(image, digest, login)

    def held(self, image: str, digest: str) -> str | None:
        return self.engine.held(image, digest)

    def finds(self, reference: str, command: str) -> bool | None:
        return self.engine.finds(reference, command)

    def free_ports(self, port_range: tuple[int, int], wanted: int) -> int:
        return self.engine.free_ports(port_range, wanted)

    def inspect(self, container: str) -> Container | None:
        return self.engine.inspect(container)

    def find(self, labels: Mapping[str, str]) -> list[Container]:
        return self.engine.find(labels)

    def networks(self, labels: Mapping[str, str]) -> list[str]:
        return self.engine.networks(labels)

    def wait(self, container: str, deadline_s: float) -> int | None:
        return self.engine.wait(container, deadline_s)

    def logs(self, container: str, lines: int) -> list[str]:
        return self.engine.logs(container, lines)


@dataclass(frozen=True, slots=True)
class FencedRouter:
    """Implements ports.router.Router: questions pass, acts pass the fence first."""

    router: Router
    fence: Fence

    # ---- acts

    def ensure(self, binds: tuple[Bind, ...], nonce: str, token: int) -> None:
        self.fence.check()
        self.router.ensure(binds, nonce, token)

    def load(self, slots: Mapping[Slot, SlotRoutes], token: int) -> None:
        self.fence.check()
        self.router.load(slots, token)

    def expect(self, slot: Slot, token: int) -> None:
        self.fence.check()
        self.router.expect(slot, token)

    def switch(self, to: Slot, token: int) -> float:
        self.fence.check()
        return self.router.switch(to, token)

    def hold(self, mode: Hold, deadline_s: float, token: int) -> None:
        self.fence.check()
        self.router.hold(mode, deadline_s, token)

    def release(self, token: int) -> None:
        self.fence.check()
        self.router.release(token)

    def drain(self, slot: Slot, deadline_s: float, token: int, spare: int = 0) -> int:
        self.fence.check()
        return self.router.drain(slot, deadline_s, token, spare)

    def stop(self) -> None:
        self.fence.check()
        self.router.stop()

    # ---- questions

    def version(self) -> str:
        return self.router.version()

    def refuse_taken(self, binds: tuple[Bind, ...]) -> None:
        self.router.refuse_taken(binds)

    def wait_up(self, slot: Slot, deadline_s: float) -> None:
        self.router.wait_up(slot, deadline_s)

    def state(self) -> RouterState:
        return self.router.state()

    def traffic(self, slot: Slot, window_s: float, slow_s: float) -> Traffic:
        return self.router.traffic(slot, window_s, slow_s)


@dataclass(frozen=True, slots=True)
class FencedClusters:
    """Implements ports.cluster.Clusters."""

    clusters: Clusters
    fence: Fence

    def at(self, admin: Secret, deployment: str) -> Cluster:
        return FencedCluster(self.clusters.at(admin, deployment), self.fence)


@dataclass(frozen=True, slots=True)
class FencedCluster:
    """Implements ports.cluster.Cluster: questions pass, acts pass the fence first."""

    cluster: Cluster
    fence: Fence

    # ---- acts

    def settle(self, deployment: str) -> None:
        self.fence.check()
        self.cluster.settle(deployment)

    def create(self, mark: Mark) -> None:
        self.fence.check()
        self.cluster.create(mark)

    def copy(self, mark: Mark, deadline_s: float) -> tuple[Visitor, ...]:
        self.fence.check()
        return self.cluster.copy(mark, deadline_s)

    def swap(
        self, incoming: str, outgoing: Mark, writes: int | None, deadline_s: float
    ) -> tuple[Visitor, ...]:
        self.fence.check()
        return self.cluster.swap(incoming, outgoing, writes, deadline_s)

    def end(self, database: str) -> tuple[Visitor, ...]:
        self.fence.check()
        return self.cluster.end(database)

    def drop(self, mark: Mark) -> bool:
        self.fence.check()
        return self.cluster.drop(mark)

    # ---- questions

    def refuse_unfit(self, live: str) -> tuple[str, ...]:
        return self.cluster.refuse_unfit(live)

    def exists(self, database: str) -> bool:
        return self.cluster.exists(database)

    def beside(self, live: str) -> list[Beside]:
        return self.cluster.beside(live)

    def writes(self, database: str) -> int | None:
        return self.cluster.writes(database)

    def loss(
        self,
        live: Secret,
        restored: Secret,
        tables: Sequence[str],
        deadline_s: float,
        stopped: Callable[[], bool],
    ) -> Loss:
        return self.cluster.loss(live, restored, tables, deadline_s, stopped)
