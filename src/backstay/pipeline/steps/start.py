"""Start the containers of a slot, or share those that stand already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from backstay.domain.plan import Origin
from backstay.domain.release import Component
from backstay.domain.slot import Placement, SlotMapping, unreferenced
from backstay.domain.step import StepRecord, Truth
from backstay.errors import StepFailed
from backstay.pipeline.routes import routes_of
from backstay.pipeline.run import Run
from backstay.ports.engine import Container, ContainerSpec

DEFAULT_GRACE_S = 10.0
"""Grace for a container of a component that the release does not know (any more)."""


class StartStep:
    name = "start"
    title = "start the new slot"

    def do(self, run: Run) -> dict[str, Any]:
        run.world.router.expect(run.plan.target, run.token)
        placements = {}
        for name in run.release.components:
            placements[name] = as_json(_shared(run, name) or self._start(run, name))
        return {"placements": placements}

    def _start(self, run: Run, name: str) -> Placement:
        component = run.release.components[name]
        image, labels = run.result("pull")["images"][name], run.labels(name, run.plan.target)
        container = run.world.engine.run(spec_of(run, component, container_name(run, name), image, labels))
        if container.port is None:
            raise StepFailed(f"the engine published no port for {name}")
        run.tell("container_started", f"{container.name} on 127.0.0.1:{container.port}", step=self.name)
        run.heed()
        return Placement(name, container.id, container.name, container.port, component.version)

    def probe(self, run: Run, record: StepRecord) -> Truth:
        """What stood in the slot may have left the router before a container came."""
        mine = run.world.engine.find({"backstay.deployment": run.id})
        return Truth.HAPPENED if mine else Truth.UNKNOWN

    def undo(self, run: Run, record: StepRecord) -> None:
        run.world.router.load(routes_of(run, run.slots), run.token)
        remove_born_here(run)


def spec_of(
    run: Run, component: Component, name: str, image: str, labels: Mapping[str, str]
) -> ContainerSpec:
    """What the engine is told of a component that serves, with the secrets as they are now."""
    return ContainerSpec(
        name=name,
        image=image,
        network=run.environment.network,
        labels=labels,
        env={"PORT": str(component.port), **component.env},
        secrets=run.secrets_for(component.secrets),
        command=component.command,
        volumes=component.volumes,
        memory=component.memory,
        published=component.port,
        port_range=run.environment.ports,
    )


def container_name(run: Run, component: str, role: str | None = None) -> str:
    """`APP-ENV-COMPONENT-DEPLOYMENT[-ROLE]`: unique, and the same after a crash."""
    parts = [run.environment.app, run.environment.name, component, run.id]
    return "-".join([*parts, role] if role else parts)


def remove_born_here(run: Run) -> None:
    """Remove this deployment's containers, except those a slot refers to."""
    born = {c.id: c for c in run.world.engine.find({"backstay.deployment": run.id})}
    stop_and_remove(run, [born[id_] for id_ in unreferenced(born, run.slots)])


def stop_and_remove(run: Run, containers: Sequence[Container]) -> None:
    """Give every container its grace, all at once, and remove it. The first failure is raised after all were tried."""

    def end(container: Container) -> None:
        component = run.release.components.get(container.labels.get("backstay.component", ""))
        run.world.engine.stop(container.id, component.stop_grace_s if component else DEFAULT_GRACE_S)
        run.world.engine.remove(container.id)

    if not containers:
        return
    with ThreadPoolExecutor(max_workers=len(containers)) as pool:
        for job in [pool.submit(end, container) for container in containers]:
            job.result()


def as_json(placement: Placement) -> dict[str, Any]:
    return {
        "component": placement.component,
        "container": placement.container,
        "name": placement.name,
        "port": placement.port,
        "version": placement.version,
        "host": placement.host,
    }


def placements_of(run: Run) -> dict[str, Placement]:
    """What `start` journaled; for a warm rollback, what stands in the slot already."""
    journaled = run.result(StartStep.name).get("placements")
    if journaled is not None:
        return {name: Placement(**value) for name, value in journaled.items()}
    mapping = run.plan.before.standby
    return dict(mapping.placements) if mapping and run.plan.is_warm else {}


def _shared(run: Run, name: str) -> Placement | None:
    mapping: SlotMapping | None = {
        Origin.LIVE: run.plan.before.serving,
        Origin.STANDBY: run.plan.before.standby,
        Origin.NEW: None,
    }[run.plan.origins[name]]
    return mapping.placements[name] if mapping else None
