"""Watch the new release under real traffic; reverse it when a hard trigger fires."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from backstay.domain.deployment import DeploymentState
from backstay.domain.duration import format_duration
from backstay.domain.slot import Placement
from backstay.domain.step import StepRecord, Truth
from backstay.domain.verdict import Observation, Traffic, Trigger, hard_trigger
from backstay.errors import EngineError, RouterError, StepFailed
from backstay.pipeline.probe import ask_all
from backstay.pipeline.run import Run
from backstay.pipeline.steps.smoke import passes_in_public
from backstay.pipeline.steps.start import placements_of
from backstay.pipeline.witness import Witness
from backstay.ports.engine import Container

TOLD_EVERY_S = 5.0
LOG_LINES = 20
LONGEST_WINDOW_S = 600.0
QUIET_S = 30.0
"""How long a release must run without dying after a restart seen in its bake."""


class TriggerFired(StepFailed):
    """A hard trigger of the policy fired; the message carries its numbers."""

    def __init__(self, trigger: Trigger, environment: str) -> None:
        super().__init__(trigger.reason, hint=f"backstay history {environment}")
        self.trigger = trigger


class BakeStep:
    name = "bake"
    title = "watch the new release"

    def do(self, run: Run) -> dict[str, Any]:
        run.move(DeploymentState.BAKING)
        watch = Watch(run)
        while not watch.is_over:
            watch.look()
            if trigger := hard_trigger(watch.observation(), run.environment.policy.triggers):
                run.tell("rollback_triggered", trigger.reason, step=self.name, trigger=trigger.name)
                raise TriggerFired(trigger, run.environment.name)
            watch.report()
            watch.wait()
        seen = watch.observation().new
        run.tell("release_promoted", f"{seen.requests} requests seen, no trigger fired", step=self.name)
        return {"requests": seen.requests, "errors": seen.errors, "slow": seen.slow}

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.NOT_HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """Watching changes nothing."""


@dataclass
class Watch:
    """What a bake has seen so far. Times are seconds since the switch (the bake begins right after it).

    `baseline` is what the old slot answered before; None until the router has told.
    """

    run: Run
    began: float = 0.0
    probes: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    smokes: list[bool] = field(default_factory=list)
    restarts: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    known_restarts: dict[str, int] = field(default_factory=dict)
    deaths: list[str] = field(default_factory=list)
    baseline: Traffic | None = None
    new: Traffic = field(default_factory=Traffic)
    next_look: float = 0.0
    next_smoke: float = 0.0
    next_report: float = TOLD_EVERY_S

    def __post_init__(self) -> None:
        run = self.run
        self.began = run.world.clock.monotonic()
        self.placements: dict[str, Placement] = placements_of(run)
        self.next_smoke = run.environment.policy.smoke_every_s or 0.0
        self.witness = Witness(run.world.engine, {n: p.container for n, p in self.placements.items()})
        for name, found in self.witness.look().items():
            self.known_restarts[name] = found.restarts

    @property
    def now_s(self) -> float:
        return self.run.world.clock.monotonic() - self.began

    @property
    def is_over(self) -> bool:
        """After the bake time; a release that restarted meanwhile must first have been quiet for a while, because a
        container that dies every few seconds is between two deaths most of the time."""
        bake_s = self.run.environment.policy.bake_s
        restarts = [t for times in self.restarts.values() for t in times]
        quiet_at = max(restarts) + max(bake_s, QUIET_S) if restarts else 0.0
        return self.now_s >= max(bake_s, quiet_at)

    def observation(self) -> Observation:
        return Observation(
            probes=dict(self.probes),
            smokes=self.smokes,
            restarts=dict(self.restarts),
            deaths=self.deaths,
            now_s=self.now_s,
            old=self.baseline or Traffic(),
            new=self.new,
        )

    def look(self) -> None:
        """One round: health of every component, restarts, traffic, and the smoke tests when due."""
        run, triggers = self.run, self.run.environment.policy.triggers
        self.next_look = self.now_s + triggers.probe_interval_s
        components, deadline_s = run.release.components, triggers.probe_deadline_s
        for name, answer in ask_all(
            run.world.prober, self.placements, components, deadline_s, run.heed
        ).items():
            self.probes[name].append(answer.is_healthy)
            if not answer.is_healthy:
                said = answer.error or f"answered {answer.status}"
                run.tell("probe_failed", f"{name}: {said}", step=BakeStep.name, component=name)
        self._count_restarts()
        self._count_traffic()
        every = run.environment.policy.smoke_every_s
        if every is not None and self.now_s >= self.next_smoke:
            self.next_smoke = self.now_s + every
            self.smokes.append(passes_in_public(run))

    def wait(self) -> None:
        self.run.pause(max(0.0, self.next_look - self.now_s))

    def report(self) -> None:
        """Say every few seconds that the watch goes on, so that nobody wonders."""
        if self.now_s < self.next_report:
            return
        self.next_report = self.now_s + TOLD_EVERY_S
        left = format_duration(max(0.0, self.run.environment.policy.bake_s - self.now_s))
        self.run.tell(
            "baking",
            f"{left} left, {self.new.requests} requests in the last minute, {self.new.errors} errors",
            step=BakeStep.name,
            requests=self.new.requests,
            errors=self.new.errors,
            slow=self.new.slow,
        )

    def _count_restarts(self) -> None:
        for name, found in self.witness.look().items():
            if not (found.running or found.can_restart):
                self._note_death(name, found)
            fresh = found.restarts - self.known_restarts.setdefault(name, found.restarts)
            if fresh > 0:
                self.restarts[name].extend([self.now_s] * fresh)
                self.known_restarts[name] = found.restarts
                self.run.tell("container_restarted", f"{name} restarted {fresh} time(s)", step=BakeStep.name)

    def _note_death(self, name: str, found: Container) -> None:
        self.deaths.append(name)
        try:
            output = self.run.output_of(found.id, LOG_LINES)
        except EngineError as error:
            output = [f"(unknown: {error.message})"]
        message = f"{name} ended with {found.exit_code}; its last output:"
        self.run.tell("component_died", message, step=BakeStep.name, component=name, output=output)

    def _count_traffic(self) -> None:
        triggers = self.run.environment.policy.triggers
        window = min(triggers.sample_window_s, self.now_s + 1.0)
        try:
            self.new = self.run.world.router.traffic(self.run.plan.target, window, triggers.slow_answer_s)
            if self.baseline is None:
                self.baseline = self._before_the_switch()
        except RouterError as error:
            without = "" if self.baseline is not None else "; until it does, the old slot counts as faultless"
            self.run.tell("router_silent", error.message + without, step=BakeStep.name)

    def _before_the_switch(self) -> Traffic:
        """What the old slot answered then; nothing when there was none. Raises RouterError."""
        old, triggers = self.run.plan.before.live, self.run.environment.policy.triggers
        if old is None:
            return Traffic()
        window = min(triggers.baseline_window_s + self.now_s, LONGEST_WINDOW_S)
        return self.run.world.router.traffic(old, window, triggers.slow_answer_s)
