"""Wait until every component of the new slot answers on its private port."""

from __future__ import annotations

from typing import Any

from backstay.domain.duration import format_duration
from backstay.domain.plan import Origin
from backstay.domain.slot import Placement
from backstay.domain.smoke import Answer
from backstay.domain.step import StepRecord, Truth
from backstay.errors import StepFailed
from backstay.pipeline.probe import ask_health
from backstay.pipeline.run import Run
from backstay.pipeline.steps.start import placements_of
from backstay.ports.engine import Container

LOG_LINES = 20


class HealthStep:
    name = "health"
    title = "wait until the new slot is healthy"

    def do(self, run: Run) -> dict[str, Any]:
        began = run.world.clock.monotonic()
        waiting = placements_of(run)
        healthy: dict[str, float] = {}
        known_restarts = {name: 0 for name, origin in run.plan.origins.items() if origin is Origin.NEW}
        while waiting:
            for name, placement in list(waiting.items()):
                answer = ask_health(run.world.prober, placement, run.release.components[name].health)
                elapsed = run.world.clock.monotonic() - began
                if answer.is_healthy:
                    healthy[name] = elapsed
                    del waiting[name]
                    run.tell("component_healthy", f"{name} after {format_duration(elapsed)}", step=self.name)
                else:
                    self._give_up_if_hopeless(run, placement, answer, elapsed, known_restarts)
            if waiting:
                run.pause(min(run.release.components[n].health.interval_s for n in waiting))
        return {"healthy_s": healthy}

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.NOT_HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """Looking changes nothing."""

    def _give_up_if_hopeless(
        self, run: Run, placement: Placement, answer: Answer, elapsed: float, known_restarts: dict[str, int]
    ) -> None:
        """`known_restarts`: how often the container of each component had restarted before it was waited for. Of one
        that is shared with a slot it is what the first look finds: one that answers at once is not looked at."""
        name = placement.component
        health = run.release.components[name].health
        found = run.world.engine.inspect(placement.container)
        if found is None:
            raise StepFailed(f"the container of {name} is gone")
        if (
            not found.running
            or found.restarting
            or found.restarts > known_restarts.setdefault(name, found.restarts)
        ):
            why = "was killed for want of memory" if found.oom_killed else _how_it_ended(found)
            raise self._failure(run, placement, f"{name} {why} before it was healthy")
        if elapsed > health.deadline_s:
            said = answer.error or f"answered {answer.status}"
            raise self._failure(
                run,
                placement,
                f"{name} was not healthy within {format_duration(health.deadline_s)}: {health.path} {said}",
            )

    def _failure(self, run: Run, placement: Placement, message: str) -> StepFailed:
        output = run.output_of(placement.container, LOG_LINES)
        run.tell("container_output", f"last output of {placement.component}", step=self.name, output=output)
        last = next((line for line in reversed(output) if line.strip()), None)
        return StepFailed(
            message + (f"; its last output: {last}" if last else "; it printed nothing"),
            hint=f"backstay events {run.id} shows its last output",
            state="the old release never stopped serving" if run.plan.previous else "nothing serves yet",
        )


def _how_it_ended(container: Container) -> str:
    """An engine that has started it again by now tells no exit code any more."""
    return "ended" if container.exit_code is None else f"exited with {container.exit_code}"
