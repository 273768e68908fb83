"""Containers of a rehearsal: run once to their end, or booted beside each other, asked, and removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from backstay.domain.duration import format_duration
from backstay.domain.environment import Environment
from backstay.domain.release import Component, Release
from backstay.domain.secret import Secret
from backstay.domain.slot import Placement
from backstay.domain.smoke import ESSENTIAL, CheckResult, Kind
from backstay.errors import BackupFailed
from backstay.pipeline.probe import ask_health
from backstay.pipeline.questions import Looks, of_release
from backstay.pipeline.smoke import Patience, ask_privately, smoke
from backstay.ports.clock import Clock
from backstay.ports.engine import Container, ContainerSpec, Engine
from backstay.ports.prober import Prober

MARK = "BACKSTAY_REHEARSAL"
"""Set to 1 in everything that a rehearsal runs, so that an application can leave its mails unsent."""

LOG_LINES = 30
SMOKE_S = 60.0
WAIT_S = 0.5


class StagePorts(Protocol):
    """What the containers need of the world."""

    @property
    def engine(self) -> Engine: ...
    @property
    def prober(self) -> Prober: ...
    @property
    def clock(self) -> Clock: ...


@dataclass(frozen=True)
class Stage:
    """Where a rehearsal's containers run. `prefix` begins their names, `secrets` are those that they get.

    `internal`: the network publishes no ports, and this host reaches containers at their own addresses.
    """

    ports: StagePorts
    prefix: str
    network: str
    internal: bool
    labels: Mapping[str, str]
    ports_range: tuple[int, int]
    secrets: Mapping[str, Secret]
    stopped: Callable[[], bool]

    def run_once(
        self, component: Component, image: str, role: str, env: Mapping[str, str], deadline_s: float
    ) -> tuple[int | None, list[str]]:
        """Run the migration of a component; exit code, None when its time was over, and its last lines of output."""
        engine = self.ports.engine
        container = engine.run(self._spec(component, image, role, component.migrate, env, None))
        try:
            end = self.ports.clock.monotonic() + deadline_s
            code = None
            while code is None and self.ports.clock.monotonic() < end:
                self._heed()
                code = engine.wait(container.id, WAIT_S)
            if code is None:
                engine.stop(container.id, 0)
            return code, engine.logs(container.id, LOG_LINES)
        finally:
            engine.remove(container.id)

    def boot_and_smoke(
        self, release: Release, images: Mapping[str, str], role: str, environment: Environment, full: bool
    ) -> tuple[CheckResult, ...]:
        """Start every component, wait until all are healthy, ask what a private slot is asked, remove them.

        A component that does not become healthy is a failed test of its own, and then nothing more is asked.
        """
        made: dict[str, Container] = {}
        if without := self._without_secrets(release):
            return without
        try:
            for name, component in release.components.items():
                published = None if self.internal else component.port
                spec = self._spec(component, images[name], role, component.command, {}, published)
                made[name] = self.ports.engine.run(spec)
            placements = {
                name: self._placement(release.components[name], container) for name, container in made.items()
            }
            faults = self._await_health(release, placements)
            if faults:
                return faults
            return tuple(self._ask(release, placements, environment, full))
        finally:
            for container in made.values():
                self.ports.engine.remove(container.id)

    def _without_secrets(self, release: Release) -> tuple[CheckResult, ...]:
        """What cannot boot any more: an earlier release may have known secrets that are gone by now."""
        missing = {n: sorted(set(c.secrets) - self.secrets.keys()) for n, c in release.components.items()}
        return tuple(
            CheckResult(f"{name} health", False, f"needs secrets that are missing: {', '.join(names)}", 0.0)
            for name, names in missing.items()
            if names
        )

    def _ask(
        self, release: Release, placements: Mapping[str, Placement], environment: Environment, full: bool
    ) -> list[CheckResult]:
        # Cold containers on a busy host are slow, and say nothing by it.
        wanted = ESSENTIAL | {Kind.DATABASE} if full else ESSENTIAL
        questions = of_release(
            release, environment, self.ports.prober, wanted=frozenset(wanted), looks=Looks()
        )
        ask = ask_privately(self.ports.prober, release, placements)
        found = smoke(questions, ask, Patience(SMOKE_S), self.ports.clock, self._pause)
        return [each for each in found if not each.detail.startswith("does not apply")]

    def _await_health(self, release: Release, placements: Mapping[str, Placement]) -> tuple[CheckResult, ...]:
        clock = self.ports.clock
        began = clock.monotonic()
        waiting = dict(placements)
        while waiting:
            for name, placement in list(waiting.items()):
                health = release.components[name].health
                answer = ask_health(self.ports.prober, placement, health)
                took_s = clock.monotonic() - began
                if answer.is_healthy:
                    del waiting[name]
                    continue
                found = self.ports.engine.inspect(placement.container)
                if found is None or not found.running:
                    return (self._died(name, found, took_s),)
                if took_s > health.deadline_s:
                    said = answer.error or f"answered {answer.status}"
                    detail = f"{health.path} {said} after {format_duration(took_s)}"
                    return (CheckResult(f"{name} health", False, detail + self._words(found), took_s),)
            if waiting:
                self._pause(min(release.components[name].health.interval_s for name in waiting))
        return ()

    def _died(self, name: str, found: Container | None, took_s: float) -> CheckResult:
        how = "is gone" if found is None else f"exited with {found.exit_code}"
        words = self._words(found) if found is not None else ""
        return CheckResult(f"{name} health", False, f"{how} before it was healthy{words}", took_s)

    def _words(self, container: Container) -> str:
        lines = [line for line in self.ports.engine.logs(container.id, LOG_LINES) if line.strip()]
        return f"; its last output: {lines[-1]}" if lines else ""

    def _placement(self, component: Component, container: Container) -> Placement:
        if self.internal:
            return Placement(
                component.name,
                container.id,
                container.name,
                component.port,
                component.version,
                container.address,
            )
        return Placement(component.name, container.id, container.name, container.port or 0, component.version)

    def _spec(
        self,
        component: Component,
        image: str,
        role: str,
        command: tuple[str, ...],
        env: Mapping[str, str],
        published: int | None,
    ) -> ContainerSpec:
        return ContainerSpec(
            name=f"{self.prefix}-{role}-{component.name}",
            image=image,
            network=self.network,
            labels={**self.labels, "backstay.component": component.name},
            env={**env, "PORT": str(component.port), **component.env, MARK: "1"},
            secrets={key: self.secrets[key] for key in component.secrets},
            command=command,
            volumes=borrowed(component.volumes),
            memory=component.memory,
            published=published,
            port_range=self.ports_range,
            restarts=False,
        )

    def _pause(self, seconds: float) -> None:
        self._heed()
        self.ports.clock.sleep(seconds)

    def _heed(self) -> None:
        if self.stopped():
            raise BackupFailed("the rehearsal was stopped on request", state="nothing was changed")


def borrowed(volumes: tuple[str, ...]) -> tuple[str, ...]:
    """The volumes of a component as a rehearsal may have them: folders of the host, to read only. What a named volume
    holds is the application's live data; in its place there is what the image has there."""
    folders = []
    for volume in volumes:
        source, _, rest = volume.partition(":")
        if source.startswith("/"):
            folders.append(f"{source}:{rest.partition(':')[0]}:ro")
    return tuple(folders)
