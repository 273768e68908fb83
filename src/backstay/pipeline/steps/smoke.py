"""Smoke tests: against the new slot's private ports before the switch, through the public route after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from backstay.domain.slot import Placement
from backstay.domain.smoke import Answer, CheckResult, Expectation, SmokeTest, fault_of
from backstay.domain.step import StepRecord, Truth
from backstay.errors import StepFailed
from backstay.pipeline.run import Run
from backstay.pipeline.steps.start import placements_of
from backstay.ports.prober import Prober

TRIES = 2
PAUSE_S = 0.5
WORKERS = 8

Ask = Callable[[SmokeTest], tuple[Answer, str | None]]
"""Sends a test's request; returns the answer, and what is wrong with who answered, if anything."""


class SmokeStep:
    """Law 1: no traffic for a slot that does not pass on its private ports."""

    name = "smoke"
    title = "smoke-test the new slot in private"

    def do(self, run: Run) -> dict[str, Any]:
        return must_pass(run, self.name, lambda: run_tests(run, private(run)))

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.NOT_HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """Asking changes nothing."""


class PublicSmokeStep:
    """The same tests the way users come in; the answers must come from the slot we switched to."""

    name = "public-smoke"
    title = "smoke-test the public route"

    def do(self, run: Run) -> dict[str, Any]:
        return must_pass(run, self.name, lambda: run_tests(run, public(run)))

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.NOT_HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """Asking changes nothing."""


def must_pass(run: Run, step: str, attempt: Callable[[], list[CheckResult]]) -> dict[str, Any]:
    """Try up to twice; tell every result of the last try; StepFailed when one failed both times."""
    results: list[CheckResult] = []
    for left in reversed(range(TRIES)):
        results = attempt()
        if all(r.ok for r in results) or not left:
            break
        run.pause(PAUSE_S)
    for result in results:
        run.tell("smoke_done", f"{result.id}: {result.detail}", step=step, ok=result.ok)
    bad = [r for r in results if not r.ok]
    if bad:
        raise StepFailed(
            "smoke failed: " + "; ".join(f"{r.id}: {r.detail}" for r in bad),
            hint=f"backstay events {run.id} shows every answer",
        )
    return {"passed": [r.id for r in results]}


def tests_of(run: Run) -> list[SmokeTest]:
    """The health path of every routed component, then the tests of the configuration."""
    own = []
    for name, component in run.release.components.items():
        path = component.health.path
        served_by = run.release.component_for(path)
        if served_by is not None and served_by.name == name:
            own.append(
                SmokeTest(f"{name} health", path, headers=component.health.headers, expect=Expectation())
            )
    return own + list(run.environment.smoke)


def run_tests(run: Run, ask: Ask) -> list[CheckResult]:
    """All tests at once, in the order of their definition."""
    tests = tests_of(run)
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        return list(pool.map(lambda test: judge(test, ask, run.world.prober, run), tests))


def judge(test: SmokeTest, ask: Ask, prober: Prober, run: Run) -> CheckResult:
    """Send one test and say what is wrong with its answer."""
    answer, stranger = ask(test)
    found = {}
    for path in test.expect.json:
        present, value = prober.find_json(answer.body, path)
        if present:
            found[path] = value
    fault = stranger or fault_of(test, answer, found)
    detail = fault or f"{answer.status} in {answer.took_s * 1000:.0f} ms"
    return CheckResult(test.name, fault is None, run.redact(detail), answer.took_s)


def private(run: Run) -> Ask:
    """Asks the containers directly; the router has no part in it."""
    placements = placements_of(run)

    def ask(test: SmokeTest) -> tuple[Answer, str | None]:
        component = run.release.component_for(test.path)
        if component is None:
            return Answer(error=f"no route serves {test.path}"), None
        placement: Placement = placements[component.name]
        return _send(run, test, placement.host, placement.port, test.headers), None

    return ask


def public(run: Run) -> Ask:
    """Asks through the router, with the nonce that makes it say which slot answered."""
    bind = run.environment.bind
    host = "127.0.0.1" if bind.host in ("", "0.0.0.0", "::") else bind.host
    target = run.plan.target.value

    def ask(test: SmokeTest) -> tuple[Answer, str | None]:
        answer = _send(run, test, host, bind.port, {**test.headers, "X-Backstay-Probe": run.nonce})
        slot = answer.headers.get("x-backstay-slot")
        if answer.error is None and slot != target:
            return answer, f"slot {slot or 'unknown'} answered, not {target}: is the listener our router?"
        return answer, None

    return ask


def _send(run: Run, test: SmokeTest, host: str, port: int, headers: Mapping[str, str]) -> Answer:
    return run.world.prober.ask(
        host, port, test.path, method=test.method, headers=headers, deadline_s=test.deadline_s
    )
