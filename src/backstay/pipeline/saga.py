"""The saga: every step is journaled before and after its effect, and can be taken back in reverse order.

Law 4. The journal is written with the lease's token, so an owner that lost its lease fails at the write before
its next effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from backstay.domain.step import StepRecord, StepState, Telling, Truth
from backstay.errors import BackstayError, LeaseLost, NeedsAttention
from backstay.pipeline.run import Run

Result = Mapping[str, Any]


class Step(Protocol):
    """One act of a runbook. `result` must be enough for `undo` and `probe` to work after a crash."""

    name: str
    title: str

    def do(self, run: Run) -> Result:
        """Act. Raises a BackstayError when the end cannot be reached."""

    def probe(self, run: Run, record: StepRecord) -> Truth:
        """Did it happen? Asks the world, never memory."""

    def undo(self, run: Run, record: StepRecord) -> None:
        """Take back what `do` did, also half of it, also twice."""


class Saga:
    """Runs steps for one deployment and can reverse them, in this process or in a later one."""

    def __init__(self, run: Run, steps: Sequence[Step]) -> None:
        self.run = run
        self.steps = {step.name: step for step in steps}

    def do(self, step: Step, *, heed: bool = True) -> Result:
        """Journal the intent, act, journal the end. The step's own error comes through, journaled as failed."""
        run, store = self.run, self.run.world.store
        if heed:
            run.heed()
        started = Telling("step_started", step.title)
        store.step(run.token, run.id, step.name, StepState.STARTED, telling=started)
        began = run.world.clock.monotonic()
        try:
            result = step.do(run)
        except LeaseLost:
            raise
        except BackstayError as error:
            self._ended(step, StepState.FAILED, began, error=run.redact(error.message))
            raise
        self._ended(step, StepState.DONE, began, result=result)
        return result

    def do_leniently(self, step: Step) -> None:
        """As `do`, but a failure is told and not raised: tidying up never turns a good deployment into a bad one.

        A wish that comes now is too late to be heeded: it must not cost the tidying.
        """
        try:
            self.do(step, heed=False)
        except LeaseLost:
            raise
        except BackstayError as error:
            self.run.tell("cleanup_failed", f"{step.title}: {error.message}", step=step.name)

    def reverse(self) -> list[BackstayError]:
        """Undo every step that may have an effect, newest first; returns what could not be undone.

        One undo that fails does not keep the others from running; only NeedsAttention (traffic cannot go back) ends
        it, because what would be undone next is what serves. A step that is not known here is never skipped: nothing
        is undone before it can be.
        """
        run, store = self.run, self.run.world.store
        failed: list[BackstayError] = []
        journal = store.steps(run.id)
        if strange := [record.name for record in journal if record.name not in self.steps]:
            return [NeedsAttention(f"the journal has a step {strange[0]!r} that this Backstay does not know")]
        for record in reversed(journal):
            step = self.steps[record.name]
            if not record.state.may_have_effect:
                continue
            if record.state is not StepState.DONE and self.truth(record) is Truth.NOT_HAPPENED:
                if record.state is StepState.STARTED:
                    # Said now: what is undone next may look like its effect to who asks again (a hold that ends).
                    store.step(run.token, run.id, step.name, StepState.UNDONE)
                continue
            store.step(run.token, run.id, step.name, StepState.UNDOING)
            try:
                step.undo(run, record)
            except LeaseLost:
                raise
            except NeedsAttention as stuck:
                return [*failed, stuck]
            except BackstayError as error:
                failed.append(error)
                run.tell("undo_failed", f"{step.name}: {error.message}", step=step.name)
            else:
                undone = Telling("step_undone", step.title)
                store.step(run.token, run.id, step.name, StepState.UNDONE, telling=undone)
        return failed

    def truth(self, record: StepRecord) -> Truth:
        """What the step's probe says; UNKNOWN when what it asks does not answer."""
        try:
            return self.steps[record.name].probe(self.run, record)
        except LeaseLost:
            raise
        except BackstayError:
            return Truth.UNKNOWN

    def _ended(
        self,
        step: Step,
        state: StepState,
        began: float,
        *,
        result: Result | None = None,
        error: str | None = None,
    ) -> None:
        run = self.run
        took_s = run.world.clock.monotonic() - began
        kind = "step_done" if state is StepState.DONE else "step_failed"
        telling = Telling(kind, error or step.title, {"took_s": round(took_s, 4)})
        run.world.store.step(
            run.token, run.id, step.name, state, result=result, error=error, took_s=took_s, telling=telling
        )
