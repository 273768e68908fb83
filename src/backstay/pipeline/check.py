"""The runner of checks: all at once, each with its own deadline, every outcome told."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backstay.domain.check import CheckResult, Severity
from backstay.errors import BackstayError
from backstay.ports.clock import Clock

DEADLINE_S = 10.0
GAVE_UP = "what it asks hangs; see whether it answers by hand"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. Without a severity, or as a notice, all is well."""

    detail: str
    severity: Severity | None = None
    hint: str | None = None


class NotChecked(BackstayError):
    """A check has nothing to look at, or what it needs failed in a check of its own; told as a notice."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `look` returns what it found; a BackstayError that it raises is an error found.

    `hint` is told when `deadline_s` seconds go by without an outcome.
    """

    id: str
    look: Callable[[], Finding]
    deadline_s: float = DEADLINE_S
    hint: str = GAVE_UP


def run_checks(checks: Sequence[Check], clock: Clock, redact: Callable[[str], str]) -> list[CheckResult]:
    """Run all `checks` at once; results in their order.

    One that hangs is given up at its deadline: it is reported as failed, its thread is left behind and dies with
    the process, and nobody waits for it. Never raises.
    """
    done: queue.SimpleQueue[CheckResult] = queue.SimpleQueue()
    began = clock.monotonic()

    def work(check: Check) -> None:
        # From the common start, not from the thread's own: what waits for a processor is slow, too.
        result = _outcome(check)
        done.put(_result(check, result, clock.monotonic() - began, redact))

    for check in checks:
        threading.Thread(target=work, args=(check,), name=f"check {check.id}", daemon=True).start()
    pending = {check.id: check for check in checks}
    results: dict[str, CheckResult] = {}
    while pending:
        next_s = min(check.deadline_s for check in pending.values())
        try:
            result = done.get(timeout=max(0.0, next_s - (clock.monotonic() - began)))
        except queue.Empty:
            for check in [each for each in pending.values() if each.deadline_s <= next_s]:
                results[check.id] = _hung(check)
                del pending[check.id]
            continue
        if pending.pop(result.id, None) is not None:
            results[result.id] = result
    return [results[check.id] for check in checks]


def _outcome(check: Check) -> Finding:
    try:
        return check.look()
    except NotChecked as told:
        return Finding(f"not checked: {told.message}", Severity.NOTICE, told.hint)
    except BackstayError as error:
        return Finding(error.message, Severity.ERROR, error.hint)
    except Exception as error:  # noqa: BLE001 - a bug in one check must not hide what the others found
        return Finding(f"the check itself failed ({type(error).__name__}: {error})", Severity.ERROR)


def _result(check: Check, found: Finding, took_s: float, redact: Callable[[str], str]) -> CheckResult:
    severity = found.severity or Severity.ERROR
    ok = found.severity in (None, Severity.NOTICE)
    hint = redact(found.hint) if found.hint else None
    return CheckResult(check.id, ok, redact(found.detail), took_s, hint, severity.value)


def _hung(check: Check) -> CheckResult:
    return CheckResult(
        check.id, False, f"no outcome within {check.deadline_s:g} s", check.deadline_s, check.hint
    )
