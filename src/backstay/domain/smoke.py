"""Smoke tests: a request, what its answer must be, and the judgement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from backstay.domain.check import CheckResult as CheckResult


class Kind(StrEnum):
    """The eight kinds of built-in smoke tests; `domain/kinds.py` judges them."""

    FRONTEND = "frontend"
    HEALTH = "backend health"
    API = "api"
    TIME = "response time"
    DATABASE = "database"
    TLS = "tls"
    CORS = "cors"
    CONTAINERS = "containers"


ESSENTIAL = frozenset({Kind.FRONTEND, Kind.HEALTH, Kind.API})
"""The kinds of the essential set; all others belong to the full one."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What an answer must show. `json` maps JSONPath to the expected value; `under_s` is seconds."""

    status: int | None = None
    json: Mapping[str, Any] = field(default_factory=dict)
    header: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    under_s: float | None = None


@dataclass(frozen=True, slots=True)
class SmokeTest:
    """One named request through the routes of an environment."""

    name: str
    path: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    expect: Expectation = field(default_factory=Expectation)
    deadline_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: `error` is set, and everything else empty, when nothing did. Header names are lower case."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    took_s: float = 0.0
    error: str | None = None

    @property
    def is_healthy(self) -> bool:
        return self.error is None and 200 <= self.status < 400


@dataclass(frozen=True, slots=True)
class Finding:
    """What one test found. Not `ok` with severity "error" fails; a "warning" or "notice" is told and fails nothing."""

    ok: bool
    detail: str
    hint: str | None = None
    severity: str = "error"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server showed at the beginning of TLS. `fault` says why nobody should trust it; `expires_at` is a Unix
    time in seconds, known when it is trusted; `error` is set, and nothing else, when no certificate came."""

    expires_at: float | None = None
    fault: str | None = None
    error: str | None = None


def failures(results: Iterable[CheckResult]) -> list[CheckResult]:
    """Those that fail the whole: not ok, and more than a warning."""
    return [r for r in results if not r.ok and r.severity == "error"]


def fault_of(test: SmokeTest, answer: Answer, found: Mapping[str, Any]) -> str | None:
    """What is wrong with `answer`, or None. `found` holds the value at each JSONPath of the expectation."""
    expect = test.expect
    if answer.error is not None:
        return answer.error
    if expect.status is None and not answer.is_healthy:
        return f"answered {answer.status}"
    if expect.status is not None and answer.status != expect.status:
        return f"answered {answer.status}, expected {expect.status}"
    for name, wanted in expect.header.items():
        have = answer.headers.get(name.lower())
        if have is None or wanted.lower() not in have.lower():
            return f"header {name} is {have!r}, expected it to contain {wanted!r}"
    for path, value in expect.json.items():
        if path not in found:
            return f"JSON has nothing at {path}, expected {value!r}"
        if found[path] != value or isinstance(found[path], bool) != isinstance(value, bool):
            return f"JSON at {path} is {found[path]!r}, expected {value!r}"
    if expect.body is not None and expect.body.encode() not in answer.body:
        return f"body does not contain {expect.body!r}"
    if expect.under_s is not None and answer.took_s > expect.under_s:
        return f"answered in {answer.took_s:.1f} s, expected under {expect.under_s:g} s"
    return None
