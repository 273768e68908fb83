"""Checks before anything is touched. All of them run at once, all failures are told at once."""

from __future__ import annotations

from typing import Any

from backstay.domain.check import CheckResult, failing
from backstay.domain.step import StepRecord, Truth
from backstay.errors import CheckFailed
from backstay.pipeline.check import run_checks
from backstay.pipeline.checks import Subject, checks_of
from backstay.pipeline.checks.subject import Wanted
from backstay.pipeline.run import Run


class CheckStep:
    name = "check"
    title = "check all that this deployment needs"

    def do(self, run: Run) -> dict[str, Any]:
        policy = run.environment.policy
        subject = subject_of(run)
        results = run_checks(checks_of(subject), run.world.clock, subject.redact)
        for result in results:
            run.tell(
                "check_done",
                f"{result.id}: {result.detail}",
                step=self.name,
                ok=result.ok,
                severity=result.severity,
                hint=result.hint,
            )
        if bad := failing(results, policy.checks, policy.accept):
            raise refusal(bad)
        return {"checks": [{"id": r.id, "ok": r.ok, "detail": r.detail} for r in results]}

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.NOT_HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """Checks change nothing."""


def refusal(bad: list[CheckResult]) -> CheckFailed:
    """All that failed in one error; the first cure of an error (else of a warning) is its hint."""
    hints = [r.hint for severity in ("error", "warning") for r in bad if r.severity == severity and r.hint]
    return CheckFailed(
        "; ".join(f"{r.id}: {r.detail}" for r in bad),
        hint=hints[0] if hints else None,
        state="nothing was changed",
    )


def subject_of(run: Run) -> Subject:
    """What a deployment checks: the components that start anew, pinned as planned, under its own lease."""
    world, components = run.world, run.release.components
    return Subject(
        environment=run.environment,
        components={name: components[name] for name in run.plan.new_components},
        images={
            name: Wanted(components[name], components[name].version, components[name].digest)
            for name in run.plan.new_components
        },
        id=run.id,
        store=world.store,
        engine=world.engine,
        router=world.router,
        database=world.database,
        read_secrets=lambda: run.secrets,
        host=world.host,
        clock=world.clock,
        home=world.home,
        scratches=world.scratches,
        token=run.token,
    )
