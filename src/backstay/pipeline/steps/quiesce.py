"""Stop what writes to the database: every container of both slots, and whoever else is signed in.

The old release is stopped, not paused: a worker of it that goes on would write into a database that is being changed,
and a frozen one would keep its locks. Going back starts the same containers again.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from backstay.domain.release import Component
from backstay.domain.slot import Placement
from backstay.domain.step import StepRecord, Truth
from backstay.errors import DatabaseError, StepFailed
from backstay.pipeline.live import live_of
from backstay.pipeline.probe import ask_health
from backstay.pipeline.run import Run
from backstay.pipeline.steps.start import DEFAULT_GRACE_S
from backstay.ports.engine import ContainerSpec


class QuiesceStep:
    name = "quiesce"
    title = "stop what writes to the database"

    def do(self, run: Run) -> dict[str, Any]:
        standing = _standing(run)
        with ThreadPoolExecutor(max_workers=max(1, len(standing))) as pool:
            for job in [pool.submit(_stop, run, *each) for each in standing]:
                job.result()
        live = live_of(run)
        try:
            live.tell_ended(live.cluster.end(live.name), self.name)
        except DatabaseError as error:
            raise StepFailed(error.message, hint=error.hint) from error
        return {"stopped": sorted(placement.name for placement, _ in standing)}

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.UNKNOWN

    def undo(self, run: Run, record: StepRecord) -> None:
        """Start the same containers again, and wait until those that served answer."""
        for placement, component in _standing(run):
            _start_again(run, placement, component)
        serving = run.plan.before.serving
        release = run.world.store.release(serving.release) if serving else None
        if serving is None or release is None:
            return
        for name, placement in serving.placements.items():
            _await_health(run, placement, release.components[name])
        run.tell("release_back", f"{release.version} is up again", step=self.name)


def _standing(run: Run) -> list[tuple[Placement, Component]]:
    """Every container that stood in a slot before, once, with what the release of its slot says about it."""
    found: dict[str, tuple[Placement, Component]] = {}
    for mapping in run.plan.before.mappings.values():
        release = run.world.store.release(mapping.release)
        for name, placement in mapping.placements.items():
            if release is not None and name in release.components:
                found[placement.container] = (placement, release.components[name])
    return list(found.values())


def _stop(run: Run, placement: Placement, component: Component) -> None:
    run.world.engine.stop(placement.container, component.stop_grace_s or DEFAULT_GRACE_S)
    run.tell("container_stopped", placement.name, step=QuiesceStep.name)


def _start_again(run: Run, placement: Placement, component: Component) -> None:
    """`Engine.run` adopts a container by its name and labels, and starts it when it does not run."""
    found = run.world.engine.inspect(placement.container)
    if found is None:
        raise StepFailed(f"the container {placement.name} is gone", hint="deploy its release again")
    if found.running:
        return
    run.world.engine.run(
        ContainerSpec(
            name=found.name,
            image=found.image,
            network=run.environment.network,
            labels=found.labels,
            env={"PORT": str(component.port), **component.env},
            secrets={key: run.secrets[key] for key in component.secrets},
            command=component.command,
            volumes=component.volumes,
            memory=component.memory,
            published=component.port,
            port_range=run.environment.ports,
        )
    )


def _await_health(run: Run, placement: Placement, component: Component) -> None:
    end = run.world.clock.monotonic() + component.health.deadline_s
    while not (answer := ask_health(run.world.prober, placement, component.health)).is_healthy:
        if run.world.clock.monotonic() > end:
            raise StepFailed(
                f"{placement.name} does not answer after its restart: {answer.error or answer.status}",
                hint=f"backstay status {run.environment.name}",
            )
        run.pause(component.health.interval_s, heed=False)
