"""The smoke tests of an address of which nothing is known: what applies is seen from the answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from backstay.domain import kinds
from backstay.domain.header import joined
from backstay.domain.kinds import does_not_apply
from backstay.domain.smoke import Answer, Finding, Kind, SmokeTest
from backstay.errors import UsageError
from backstay.pipeline.questions import cors_keys, cors_request, followed, inapplicable, look
from backstay.pipeline.smoke import Ask, Question, all_at_once
from backstay.ports.prober import Prober

HEALTH_PATHS = ("/api/v1/health/", "/api/health/", "/health/", "/health", "/healthz")
API_PATHS = ("/api/v1/", "/api/")
AT_ONCE = 5
"""Requests under way: the listen queue of a small server is as short, and one too many waits a second for its turn."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to ask. `base` is the path that every path is below, without a slash at its end."""

    host: str
    port: int
    tls: bool
    base: str
    shown: str

    @property
    def host_as_sent(self) -> str:
        """Host and port as browsers send them: without the usual port."""
        named = f"[{self.host}]" if ":" in self.host else self.host
        return named if self.port == (443 if self.tls else 80) else f"{named}:{self.port}"


@dataclass(frozen=True, slots=True)
class Known:
    """What the caller knows; without it, usual paths are tried, and CORS is told but not judged."""

    health: str | None = None
    api: str | None = None
    origins: tuple[str, ...] = ()


def parse_address(url: str) -> Address:
    """Raises UsageError for what is no http or https URL, and for one that carries a password."""
    if "@" in url.partition("://")[2].partition("/")[0]:  # before any message could repeat it
        raise UsageError("the URL carries a user name or password", hint="leave it out: others see arguments")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{url!r} is no URL: {error}", hint="use one like https://shop.example") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{url!r} is no URL", hint="use one like https://shop.example")
    if parts.query or parts.fragment:
        shown = parts._replace(query="", fragment="").geturl()
        raise UsageError("the URL goes on after its path", hint=f"backstay smoke {shown}")
    tls = parts.scheme == "https"
    return Address(parts.hostname, port or (443 if tls else 80), tls, parts.path.rstrip("/"), url)


def ask_address(prober: Prober, address: Address) -> Ask:
    """Asks below the address as a visitor does."""
    host = address.host_as_sent

    def ask(test: SmokeTest) -> Answer:
        return prober.ask(
            address.host, address.port, address.base + test.path, method=test.method,
            headers=joined({"Host": host}, test.headers), deadline_s=test.deadline_s, tls=address.tls,
        )  # fmt: skip

    return ask


def of_address(address: Address, known: Known, prober: Prober, now: Callable[[], float]) -> list[Question]:
    """The eight kinds for an address. `now` gives the Unix time in seconds."""
    page = _get("/")
    healths = [_get(path) for path in ([known.health] if known.health else HEALTH_PATHS)]
    apis = [_get(path) for path in ([known.api] if known.api else API_PATHS)]

    def certificate() -> Finding:
        return kinds.judge_tls(prober.certificate(address.host, address.port), now())

    return [
        _frontend(page, (*healths, *apis), ("https" if address.tls else "http", address.host_as_sent)),
        _health(healths, named=known.health is not None),
        _api(apis, named=known.api is not None),
        _times(page, healths, apis),
        _database(healths, named=known.health is not None),
        look(Kind.TLS, certificate if address.tls else None, "plain http"),
        _cors(known.origins, page, healths, apis),
        inapplicable(Kind.CONTAINERS, "an address shows no containers"),
    ]


def _get(path: str) -> SmokeTest:
    return SmokeTest(path, path)


def _frontend(page: SmokeTest, others: Sequence[SmokeTest], own: tuple[str, str]) -> Question:
    """The page; none is missed where `others` show that this is the address of an API alone."""

    def is_api(ask: Ask) -> bool:
        jobs = {test.path: partial(ask, test) for test in others}
        found = all_at_once(jobs, max(test.deadline_s for test in others), AT_ONCE)
        return any(answer.error is None and 200 <= answer.status < 300 for answer in found.values())

    def judge(answers: Sequence[Answer], ask: Ask) -> Finding:
        answer = followed(page, answers[0], ask, own)
        if answer.error is None and answer.status == 404 and is_api(ask):
            return does_not_apply("/ answers 404, but there is an API: it seems to stand alone")
        return kinds.judge_frontend(answer)

    return Question(Kind.FRONTEND, (page,), judge)


def _health(tests: Sequence[SmokeTest], *, named: bool) -> Question:
    def judge(answers: Sequence[Answer], ask: Ask) -> Finding:
        chosen = best(tests, answers, is_named=named)
        if chosen is None:
            return does_not_apply(f"none of {_paths(tests)} is a health path; --health names one")
        test, answer = chosen
        found = kinds.judge_health(answer)
        return Finding(found.ok, f"{test.path}: {found.detail}", found.hint)

    return Question(Kind.HEALTH, tuple(tests), judge)


def _api(tests: Sequence[SmokeTest], *, named: bool) -> Question:
    def judge(answers: Sequence[Answer], ask: Ask) -> Finding:
        chosen = best(tests, answers, is_named=named)
        if chosen is None:
            return does_not_apply(f"none of {_paths(tests)} is an API; --api names one")
        return kinds.judge_api(chosen[0].path, chosen[1], named=named)

    return Question(Kind.API, tuple(tests), judge)


def _times(page: SmokeTest, healths: Sequence[SmokeTest], apis: Sequence[SmokeTest]) -> Question:
    """Every path that was asked counts, also one that is not there: slow is slow."""
    tests = (page, *healths, *apis)

    def judge(answers: Sequence[Answer], ask: Ask) -> Finding:
        return kinds.judge_times({t.path: a for t, a in zip(tests, answers, strict=True)})

    return Question(Kind.TIME, tests, judge)


def _database(tests: Sequence[SmokeTest], *, named: bool) -> Question:
    def judge(answers: Sequence[Answer], ask: Ask) -> Finding:
        chosen = best(tests, answers, is_named=named)
        if chosen is None:
            return does_not_apply("no health path is known")
        return kinds.judge_database({chosen[0].path: chosen[1]}, configured=False)

    return Question(Kind.DATABASE, tuple(tests), judge)


def _cors(
    origins: Sequence[str], page: SmokeTest, healths: Sequence[SmokeTest], apis: Sequence[SmokeTest]
) -> Question:
    """Asked of the first path that shows an API or health; of the page when there is none."""
    tests = (*apis, *healths, page)
    keys = cors_keys(origins)
    likely = [
        cors_request(apis[0], *key) for key in keys
    ]  # with everything else, for this is slow if the API is

    def judge(answers: Sequence[Answer], ask: Ask) -> Finding:
        chosen = best(tests, answers[: len(tests)], is_named=False)
        test = chosen[0] if chosen else page
        if test == apis[0]:
            found = dict(zip(keys, answers[len(tests) :], strict=True))
        else:
            found = {key: ask(cors_request(test, *key)) for key in keys}
        return kinds.judge_cors(origins, found) if origins else kinds.see_cors(list(found.values()))

    return Question(Kind.CORS, (*tests, *likely), judge)


def best(
    tests: Sequence[SmokeTest], answers: Sequence[Answer], *, is_named: bool
) -> tuple[SmokeTest, Answer] | None:
    """The first test whose answer is one: JSON or text with 2xx, or a wish for a login; else a server's failure;
    None when every guess was wrong (a page, a redirect, 4xx). A path that somebody named is the one, whatever came."""
    pairs = list(zip(tests, answers, strict=True))
    if is_named:
        return pairs[0]
    for test, answer in pairs:
        if (
            answer.error is None
            and not kinds.is_page(answer)
            and (200 <= answer.status < 300 or _wants_login(answer))
        ):
            return test, answer
    broken = [(t, a) for t, a in pairs if a.error is not None or a.status >= 500]
    return broken[0] if broken else None


def _wants_login(answer: Answer) -> bool:
    return answer.status in (401, 403)


def _paths(tests: Sequence[SmokeTest]) -> str:
    return ", ".join(test.path for test in tests)
