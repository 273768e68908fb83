"""Smoke tests: against the new slot's private ports before the switch, through the public route after it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from backstay.domain.policy import SmokeSet
from backstay.domain.smoke import CheckResult, Kind, failures
from backstay.domain.step import StepRecord, Truth
from backstay.errors import StepFailed
from backstay.pipeline.containers import look_at_containers
from backstay.pipeline.questions import Looks, of_release, private_kinds, public_kinds
from backstay.pipeline.run import Run
from backstay.pipeline.smoke import Ask, Patience, ask_privately, ask_publicly, smoke
from backstay.pipeline.steps.start import placements_of

DEADLINE_S = 60.0
"""For all tests and both tries; each test has a shorter deadline of its own."""


class SmokeStep:
    """Law 1: no traffic for a slot that does not pass on its private ports."""

    name = "smoke"
    title = "smoke-test the new slot in private"

    def do(self, run: Run) -> dict[str, Any]:
        return must_pass(run, self.name, private(run), private_kinds(is_full(run)))

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.NOT_HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """Asking changes nothing."""


class PublicSmokeStep:
    """The same tests the way users come in; the answers must come from the slot we switched to."""

    name = "public-smoke"
    title = "smoke-test the public route"

    def do(self, run: Run) -> dict[str, Any]:
        return must_pass(run, self.name, public(run), public_kinds(is_full(run)))

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.NOT_HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """Asking changes nothing."""


def is_full(run: Run) -> bool:
    return run.environment.policy.smoke is SmokeSet.FULL


def must_pass(run: Run, step: str, ask: Ask, wanted: frozenset[Kind]) -> dict[str, Any]:
    """Try up to twice; tell every result of the last try; StepFailed when one failed both times."""
    results = run_tests(run, ask, wanted, Patience(DEADLINE_S))
    for result in results:
        run.tell(
            "smoke_done", f"{result.id}: {result.detail}", step=step, ok=result.ok, severity=result.severity
        )
    if bad := failures(results):
        raise StepFailed(
            "smoke failed: " + "; ".join(f"{r.id}: {r.detail}" for r in bad),
            hint=f"backstay events {run.id} shows every answer",
        )
    return {"passed": [r.id for r in results if r.ok]}


def run_tests(run: Run, ask: Ask, wanted: frozenset[Kind], patience: Patience) -> list[CheckResult]:
    """The tests of this release that apply, without those that have nothing to say about it."""
    since = datetime.fromisoformat(run.deployment.created_at)
    looks = Looks(
        containers=lambda: look_at_containers(run.world.engine, placements_of(run), since, deploying=True)
    )
    questions = of_release(run.release, run.environment, run.world.prober, wanted=wanted, looks=looks)
    results = smoke(questions, ask, patience, run.world.clock, run.pause)
    return [
        replace(r, detail=run.redact(r.detail)) for r in results if not r.detail.startswith("does not apply")
    ]


def passes_in_public(run: Run) -> bool:
    """One try through the public route, as the bake repeats it."""
    return not failures(run_tests(run, public(run), public_kinds(is_full(run)), Patience(DEADLINE_S, 1)))


def private(run: Run) -> Ask:
    """Asks the containers directly; the router has no part in it."""
    return ask_privately(run.world.prober, run.release, placements_of(run))


def public(run: Run) -> Ask:
    """Asks through the router, with the nonce that makes it say which slot answered."""
    return ask_publicly(run.world.prober, run.environment.bind, run.plan.target, run.nonce)
