"""Run the new release's migrations in named one-off containers.

A migration has no undo. Its container is kept until its exit code is journaled, so that after a crash the code
can be read, or a migration that still runs be adopted, instead of running it twice.
"""

from __future__ import annotations

from typing import Any

from backstay.domain.step import StepRecord, Truth
from backstay.errors import StepFailed
from backstay.pipeline.run import Run
from backstay.pipeline.steps.start import container_name
from backstay.ports.engine import Container, ContainerSpec

LOG_LINES = 30


class MigrateStep:
    name = "migrate"
    title = "migrate the database"

    def do(self, run: Run) -> dict[str, Any]:
        ran = {}
        for name in run.plan.migrating:
            began = run.world.clock.monotonic()
            container = run.world.engine.run(_spec(run, name))
            code = self._wait(run, container)
            output = run.output_of(container.id, LOG_LINES)
            took_s = run.world.clock.monotonic() - began
            run.tell(
                "migration_ended", f"{name}: exit {code} after {took_s:.1f} s", step=self.name, output=output
            )
            run.world.engine.remove(container.id)
            if code != 0:
                raise StepFailed(
                    f"the migration of {name} ended with {code}: {_last(output)}",
                    hint=f"backstay events {run.id} shows its output",
                    state="the old release serves; the schema may be ahead of it",
                )
            ran[name] = {"took_s": took_s, "output": output}
        return {"migrations": ran, "schema_ahead": bool(ran)}

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.UNKNOWN

    def undo(self, run: Run, record: StepRecord) -> None:
        """Nothing brings a schema back; say so, and take away a container that is still there.

        One that still runs outlived its worker. It is waited for: killed half-way it could leave what no release
        knows.
        """
        for name in run.plan.migrating:
            left = run.world.engine.inspect(container_name(run, name, "migrate"))
            if left is not None:
                if left.running:
                    run.tell("migration_awaited", f"{name}: its migration still runs", step=self.name)
                    code = self._wait(run, left)
                    run.tell("migration_ended", f"{name}: exit {code}", step=self.name)
                run.world.engine.remove(left.id)
        if run.plan.migrating:
            run.tell(
                "schema_ahead", "the migration stays; the schema may be ahead of the release", step=self.name
            )

    def _wait(self, run: Run, container: Container) -> int:
        """Wait for the end. A wish to abort is heeded only after it: killing a migration half-way helps nobody."""
        deadline = run.world.clock.monotonic() + run.environment.policy.migrate_deadline_s
        while run.world.clock.monotonic() < deadline:
            if run.lost.is_set():
                run.heed()
            code = run.world.engine.wait(container.id, 1.0)
            if code is not None:
                return code
        run.world.engine.stop(container.id, 10.0)
        run.world.engine.remove(container.id)
        raise StepFailed(
            f"the migration did not end within {run.environment.policy.migrate_deadline_s:g} s and was stopped",
            hint="policy.migrate_deadline gives it more time",
            state="the old release serves; the schema may be ahead of it",
        )


def _spec(run: Run, name: str) -> ContainerSpec:
    component = run.release.components[name]
    timeout_ms = int(run.environment.policy.lock_timeout_s * 1000)
    return ContainerSpec(
        name=container_name(run, name, "migrate"),
        image=run.result("pull")["images"][name],
        network=run.environment.network,
        labels={**run.labels(name), "backstay.role": "migrate"},
        env={"PGOPTIONS": f"-c lock_timeout={timeout_ms}", **component.env},
        secrets=run.secrets_for(component.secrets),
        command=component.migrate,
        volumes=component.volumes,
        memory=component.memory,
        restarts=False,
    )


def _last(output: list[str]) -> str:
    return next((line for line in reversed(output) if line.strip()), "no output")
