"""Smoke tests: which are asked of what, all at once, under one deadline, and again where they failed."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from backstay.domain.environment import Bind
from backstay.domain.header import joined
from backstay.domain.release import Release
from backstay.domain.slot import Placement, Slot
from backstay.domain.smoke import Answer, CheckResult, Finding, SmokeTest, failures, fault_of
from backstay.ports.clock import Clock
from backstay.ports.prober import Prober

TRIES = 2
PAUSE_S = 0.5
GRACE_S = 0.25
"""An answer that ends just at its deadline may still be told."""

Ask = Callable[[SmokeTest], Answer]
"""Sends a test's request. An answer from somebody else than the one asked counts as none, with an `error`."""


@dataclass(frozen=True)
class Question:
    """One smoke test: the requests it needs, and how it judges their answers (in that order).

    One without requests looks elsewhere (engine, certificate): its `judge` may then take its time.
    """

    id: str
    requests: tuple[SmokeTest, ...]
    judge: Callable[[Sequence[Answer], Ask], Finding]


@dataclass(frozen=True)
class Patience:
    """How often to try in all, how long to wait in between, and the one deadline for everything. Seconds.

    `at_once`: requests under way; a small server that is asked more than its listen queue holds looks slow.
    """

    deadline_s: float
    tries: int = TRIES
    pause_s: float = PAUSE_S
    at_once: int = 16


def smoke(
    questions: Sequence[Question],
    ask: Ask,
    patience: Patience,
    clock: Clock,
    pause: Callable[[float], None],
    told: Callable[[int, list[CheckResult]], None] = lambda number, results: None,
) -> list[CheckResult]:
    """The results in the order of `questions`; those that failed are asked again until they pass or patience ends.

    `told` hears each try: its number from 1, and what it found.
    """
    end = clock.monotonic() + patience.deadline_s
    results: dict[int, CheckResult] = {}
    due = dict(
        enumerate(questions)
    )  # by number: a test of the configuration may be named like a built-in one
    for number in range(1, patience.tries + 1):
        found = _try(list(due.values()), ask, clock, end, patience.at_once)
        results.update(zip(due, found, strict=True))
        told(number, found)
        due = {key: question for key, question in due.items() if failures([results[key]])}
        if not due or number == patience.tries or end - clock.monotonic() <= patience.pause_s:
            break
        pause(patience.pause_s)
    return [results[key] for key in range(len(questions))]


def _try(
    questions: Sequence[Question], ask: Ask, clock: Clock, end: float, at_once: int
) -> list[CheckResult]:
    """Ask everything at once. Equal requests of several questions are sent once. `end` is the clock's time."""
    left_s = max(0.0, end - clock.monotonic())

    def clipped(test: SmokeTest) -> Answer:
        left = end - clock.monotonic()
        if left <= 0:
            return Answer(error="the time for all tests is over")
        return ask(replace(test, deadline_s=min(test.deadline_s, left)))

    def looked(question: Question) -> CheckResult:
        began = clock.monotonic()
        return _result(question, question.judge((), clipped), clock.monotonic() - began)

    asked = {_key(test): test for q in questions for test in q.requests}
    jobs: dict[Any, Callable[[], Any]] = {key: partial(clipped, test) for key, test in asked.items()}
    jobs |= {number: partial(looked, q) for number, q in enumerate(questions) if not q.requests}
    done = all_at_once(jobs, left_s, at_once)
    late = f"no answer within {left_s:.1f} s"
    results = []
    for number, question in enumerate(questions):
        if question.requests:
            answers = [done.get(_key(t), Answer(error=late, took_s=left_s)) for t in question.requests]
            took = max(answer.took_s for answer in answers)
            results.append(_result(question, question.judge(answers, clipped), took))
        else:
            results.append(done.get(number) or _result(question, Finding(False, late), left_s))
    return results


def _result(question: Question, found: Finding, took_s: float) -> CheckResult:
    return CheckResult(question.id, found.ok, found.detail, took_s, found.hint, found.severity)


def _key(test: SmokeTest) -> tuple[Any, ...]:
    return (test.method, test.path, tuple(sorted(test.headers.items())), test.deadline_s)


def all_at_once(jobs: Mapping[Any, Callable[[], Any]], deadline_s: float, at_once: int) -> dict[Any, Any]:
    """What each job returned, by its key; those that did not end in time are missing.

    The threads are daemons, so a job that hangs (a name server that is silent) cannot keep the process.
    """
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for job in jobs.items():
        waiting.put(job)

    def work() -> None:
        while True:
            try:
                key, job = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                ended.put((key, job(), None))
            except BaseException as error:  # noqa: BLE001 - raised again where somebody waits for it
                ended.put((key, None, error))

    for _ in range(min(len(jobs), at_once)):
        threading.Thread(target=work, daemon=True).start()
    done: dict[Any, Any] = {}
    end = time.monotonic() + deadline_s + GRACE_S
    while len(done) < len(jobs):
        try:
            key, value, error = ended.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        if error is not None:
            raise error
        done[key] = value
    return done


def configured(test: SmokeTest, prober: Prober, taken: Collection[str] = ()) -> Question:
    """A test of the configuration; one that is named like one of `taken` says that it is not that one."""

    def judge(answers: Sequence[Answer], ask: Ask) -> Finding:
        [answer] = answers
        found = {}
        for path in test.expect.json:
            present, value = prober.find_json(answer.body, path)
            if present:
                found[path] = value
        fault = fault_of(test, answer, found)
        return Finding(fault is None, fault or f"{answer.status} in {answer.took_s * 1000:.0f} ms")

    return Question(f"{test.name} (own)" if test.name in taken else test.name, (test,), judge)


def ask_privately(prober: Prober, release: Release, placements: Mapping[str, Placement]) -> Ask:
    """Asks the containers directly, each for what its routes serve."""

    def ask(test: SmokeTest) -> Answer:
        component = release.component_for(test.path)
        if component is None:
            return Answer(error=f"no route serves {test.path}")
        placement = placements[component.name]
        return _send(prober, test, placement.host, placement.port, test.headers)

    return ask


def ask_publicly(prober: Prober, bind: Bind, target: Slot, nonce: str | None) -> Ask:
    """Asks through the router, with the nonce that makes it say which slot answered; it must be `target`.

    Without a nonce the router does not say, and whoever answers is believed."""
    host = "127.0.0.1" if bind.host in ("", "0.0.0.0", "::") else bind.host

    def ask(test: SmokeTest) -> Answer:
        probe = {"X-Backstay-Probe": nonce} if nonce is not None else {}
        answer = _send(prober, test, host, bind.port, joined(test.headers, probe))
        slot = answer.headers.get("x-backstay-slot")
        if nonce is not None and answer.error is None and slot != target.value:
            stranger = f"slot {slot or 'unknown'} answered, not {target.value}: is the listener our router?"
            return replace(answer, error=stranger)
        return answer

    return ask


def _send(prober: Prober, test: SmokeTest, host: str, port: int, headers: Mapping[str, str]) -> Answer:
    return prober.ask(host, port, test.path, method=test.method, headers=headers, deadline_s=test.deadline_s)
