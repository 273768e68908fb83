"""The eight kinds of built-in smoke tests: what each asks, and what the answers say about the release.

A test that cannot tell never passes: it says what it does not know, as a notice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from backstay.domain.smoke import Answer, Certificate, Finding

SLOW_S: Final = 2.0
"""An answer that takes longer is a failure, however right it is."""

EXPIRY_WARNING_DAYS: Final = 21
EXPIRY_ERROR_DAYS: Final = 3
FOREIGN_ORIGIN: Final = "https://foreign.invalid"
"""An origin that nobody can own (RFC 2606), so no server has a reason to allow it."""

DAY_S: Final = 86400.0
GOOD_WORDS: Final = frozenset(
    ("ok", "okay", "connected", "up", "healthy", "working", "available", "online", "reachable", "true", "yes", "pass",
     "passed", "passing", "ready", "running", "alive", "good", "success", "operational")
)  # fmt: skip
BAD_WORDS: Final = frozenset(
    ("no", "not", "false", "down", "error", "errors", "fail", "failed", "failing", "failure", "disconnected",
     "unavailable", "unhealthy", "unreachable", "offline", "refused", "timeout", "degraded", "broken", "dead",
     "timed", "cannot", "could", "denied", "unable", "rejected",
     "critical", "lost", "out_of_service")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ContainerState:
    """A container as the engine sees it. `fresh_restarts`: restarts, if the last of them came after the switch."""

    running: bool
    restarting: bool
    fresh_restarts: int
    exit_code: int | None = None


def does_not_apply(why: str) -> Finding:
    return Finding(False, f"does not apply: {why}", severity="notice")


def judge_frontend(answer: Answer) -> Finding:
    """/ must answer 200 with something, which need not be HTML: plain text and JSON are told as such.

    One that wants a login is there, and shows no more than that.
    """
    if answer.error is not None:
        return Finding(False, answer.error)
    if 300 <= answer.status < 400:
        target = answer.headers.get("location", "nowhere")
        return Finding(False, f"/ redirects to {target}", "smoke-test the address it redirects to")
    if answer.status in (401, 403):
        return Finding(True, f"/ answered {answer.status} in {_ms(answer)}: it wants a login")
    if answer.status != 200:
        return Finding(False, f"/ answered {answer.status}, expected 200")
    if not answer.body.strip():
        return Finding(False, "/ answered an empty page")
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    shown = "HTML" if "html" in kind else f"{kind or 'unknown type'}, no HTML page,"
    return Finding(True, f"{len(answer.body)} bytes of {shown} in {_ms(answer)}")


def judge_health(answer: Answer) -> Finding:
    """The component's health path must answer 200 to 399, as in every other health probe."""
    if answer.error is not None:
        return Finding(False, answer.error)
    return Finding(answer.is_healthy, f"answered {answer.status} in {_ms(answer)}")


def judge_api(path: str, answer: Answer, *, named: bool) -> Finding:
    """An API route must answer JSON. `named`: somebody said that it is one, so a 404 is a fault and no wrong guess."""
    if answer.error is not None:
        return Finding(False, f"{path}: {answer.error}")
    said = f"{path} answered {answer.status}"
    if answer.status >= 500:
        return Finding(False, said)
    if answer.status in (401, 403) and is_json(answer):
        return Finding(True, f"{said} in {_ms(answer)}: it wants a login")
    if 200 <= answer.status < 300 and is_json(answer):
        return Finding(True, f"{said} with JSON in {_ms(answer)}")
    fault = said if answer.status >= 300 else f"{said}, but no JSON"
    if named:
        return Finding(False, fault, "does another component answer this path?")
    # A guess that looks wrong is told loudly and fails nothing: the page may be the API's own documentation.
    if "api" in path.split("/") and answer.status == 400 and not is_json(answer):
        return Finding(False, said, "does the application accept this Host header?", "warning")
    if "api" in path.split("/") and 200 <= answer.status < 300 and is_page(answer):
        return Finding(False, fault, "does another component answer this path?", "warning")
    return Finding(False, f"not known: {fault}", "name a path that answers JSON", "notice")


def judge_times(answers: Mapping[str, Answer], limit_s: float = SLOW_S) -> Finding:
    """Every answer must come within `limit_s` seconds. `answers` by path."""
    told = {path: answer for path, answer in answers.items() if answer.error is None}
    if not told:
        return Finding(False, "nothing answered")
    path, slowest = max(told.items(), key=lambda item: item[1].took_s)
    took = f"{path} took {slowest.took_s:.2f} s" if slowest.took_s >= 0.1 else f"{path} took {_ms(slowest)}"
    if slowest.took_s >= limit_s:
        return Finding(False, f"{took}, expected under {limit_s:g} s")
    if len(told) < len(answers):
        silent = ", ".join(path for path in answers if path not in told)
        return Finding(False, f"no answer from {silent}")
    return Finding(True, f"slowest of {len(told)}: {took}")


def judge_database(answers: Mapping[str, Answer], *, configured: bool) -> Finding:
    """What the health answers say about the database; an answer that says nothing is no pass."""
    words = [
        (path, key, value) for path, answer in answers.items() for key, value in _database_words(answer.body)
    ]
    bad = [f"{path} says {key} is {value!r}" for path, key, value in words if _verdict(value) is False]
    if bad:
        return Finding(False, "; ".join(bad), "does the database run, and may this release log in?")
    good = [f"{path} says {key} is {value!r}" for path, key, value in words if _verdict(value)]
    if good:
        return Finding(True, "; ".join(good))
    if not any(answer.error is None for answer in answers.values()):
        return Finding(False, "no health answer, so nothing is known")
    if not configured:
        return does_not_apply("no health answer tells of a database")
    hint = 'let the health path answer JSON like {"database": "connected"}'
    return Finding(False, "not told: no health answer tells of the database", hint, "notice")


def judge_tls(certificate: Certificate, now: float) -> Finding:
    """Chain, host name and expiry. `now` is a Unix time in seconds."""
    if certificate.error is not None:
        return Finding(False, certificate.error)
    if certificate.fault is not None or certificate.expires_at is None:
        return Finding(
            False, certificate.fault or "the certificate has no date of expiry", "renew or correct it"
        )
    days = (certificate.expires_at - now) / DAY_S
    if days <= 0:
        return Finding(False, "the certificate has expired", "renew it")
    if days < EXPIRY_ERROR_DAYS:
        return Finding(False, f"the certificate expires in {days:.1f} days", "renew it now")
    if days < EXPIRY_WARNING_DAYS:
        return Finding(False, f"the certificate expires in {days:.0f} days", "renew it", "warning")
    return Finding(True, f"trusted, for {days:.0f} more days")


def judge_cors(origins: Sequence[str], answers: Mapping[tuple[str, str], Answer]) -> Finding:
    """Allowed origins must be let in by preflight and answer, a foreign one by neither.

    `answers` by (method, origin): OPTIONS and GET for each of `origins` and for FOREIGN_ORIGIN. An origin `*` in
    `origins` lets everybody in, but never with credentials.
    """
    for (method, origin), answer in answers.items():
        what = "preflight" if method == "OPTIONS" else "answer"
        foreign = origin == FOREIGN_ORIGIN
        if answer.error is not None:
            return Finding(False, f"{what} for {origin}: {answer.error}")
        if _is_open_to_all(answer):
            return Finding(False, f"the {what} allows every origin (*) together with credentials", _CORS_HINT)
        allowed = _allowed(answer)
        if allowed == FOREIGN_ORIGIN and _with_credentials(answer):
            return Finding(False, f"the {what} allows any origin that asks, with credentials", _CORS_HINT)
        if foreign and "*" not in origins and allowed in (FOREIGN_ORIGIN, "*"):
            return Finding(False, f"the {what} allows a foreign origin ({allowed})", _CORS_HINT)
        if not foreign and origin != "*" and allowed not in (origin, "*"):
            return Finding(
                False, f"the {what} does not allow {origin} but {allowed or 'no origin'}", _CORS_HINT
            )
        if not foreign and method == "OPTIONS" and not 200 <= answer.status < 300:
            return Finding(False, f"the preflight for {origin} answered {answer.status}", _CORS_HINT)
    return Finding(
        True, f"{', '.join(origins)} allowed" + ("" if "*" in origins else ", a foreign origin not")
    )


def see_cors(answers: Sequence[Answer]) -> Finding:
    """What a server does for FOREIGN_ORIGIN where nobody configured which origins are right: told, never passed."""
    for answer in answers:
        if answer.error is not None:
            return Finding(False, answer.error)
        if _is_open_to_all(answer):
            return Finding(False, "allows every origin (*) together with credentials", _CORS_HINT, "warning")
        if _allowed(answer) == FOREIGN_ORIGIN and _with_credentials(answer):
            return Finding(False, "allows any origin that asks, with credentials", _CORS_HINT, "warning")
    seen = sorted({_allowed(a) for a in answers if _allowed(a)})
    told = f"allows {', '.join(seen)}" if seen else "allows no foreign origin"
    return Finding(False, f"not judged: {told}", "name the right origins to test them", "notice")


def judge_containers(found: Mapping[str, ContainerState | None]) -> Finding:
    """Every container runs, does not restart and has not since the switch. By component; None: it is gone."""
    faults = []
    for name, state in found.items():
        if state is None:
            faults.append(f"{name}: its container is gone")
        elif state.restarting:
            faults.append(f"{name} is restarting")
        elif not state.running:
            faults.append(f"{name} exited with {state.exit_code}")
        elif state.fresh_restarts:
            faults.append(f"{name} restarted {state.fresh_restarts} time(s)")
    if faults:
        return Finding(False, "; ".join(faults), "its log is in `docker logs`")
    return Finding(True, f"{', '.join(found)} running, no restarts")


_CORS_HINT: Final = "correct the application's CORS settings, or cors.origins"


def _ms(answer: Answer) -> str:
    return f"{answer.took_s * 1000:.0f} ms"


def is_json(answer: Answer) -> bool:
    """Whether the body is JSON, whatever the content type says."""
    try:
        json.loads(answer.body)
    except (ValueError, RecursionError):
        return False
    return True


def is_page(answer: Answer) -> bool:
    return "html" in answer.headers.get("content-type", "").lower()


def _allowed(answer: Answer) -> str:
    return answer.headers.get("access-control-allow-origin", "")


def _with_credentials(answer: Answer) -> bool:
    return answer.headers.get("access-control-allow-credentials", "").lower() == "true"


def _is_open_to_all(answer: Answer) -> bool:
    return _allowed(answer) == "*" and _with_credentials(answer)


def _database_words(body: bytes) -> list[tuple[str, Any]]:
    """Every (key, value) of a JSON body that speaks of a database and has a value that says yes or no."""
    try:
        return [(k, v) for k, v in _speaking(json.loads(body)) if _verdict(v) is not None]
    except (ValueError, RecursionError):
        return []


def _speaking(value: Any, about: str | None = None) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        for item in value:
            yield from _speaking(item, about)
    elif isinstance(value, dict):
        named = value.get("name")
        if isinstance(named, str) and _is_database(named):
            about = named
        for key, inner in value.items():
            inside = key if _is_database(key) else about
            if inside is not None and "error" in key.lower():
                if inner:
                    yield key, f"error: {inner}"
                continue
            if isinstance(inner, dict | list):
                yield from _speaking(inner, inside)
            elif inside is not None and (inside == key or key.lower() in _STATE_KEYS):
                yield inside, inner
    elif about is not None:
        yield about, value


_STATE_KEYS: Final = frozenset({"status", "state", "ok", "healthy", "connected", "up", "result"})


def _is_database(key: str) -> bool:
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key).lower())
    return any(word in ("db", "database", "databases", "postgres", "postgresql", "sql") for word in words)


def _verdict(value: Any) -> bool | None:
    """True: it says that the database answers; False: that it does not; None: it says neither."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return None
    words = set(re.findall(r"[a-z_]+", value.lower()))
    if words & BAD_WORDS:
        return False
    return True if words & GOOD_WORDS else None
