"""The smoke tests of a release in an environment. What it can be asked follows from its routes and health paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from backstay.domain import kinds
from backstay.domain.environment import Environment
from backstay.domain.header import joined
from backstay.domain.kinds import FOREIGN_ORIGIN, does_not_apply
from backstay.domain.release import Component, Release
from backstay.domain.smoke import ESSENTIAL, Answer, Finding, Kind, SmokeTest
from backstay.pipeline.smoke import Ask, Question, configured
from backstay.ports.prober import Prober

REDIRECTS = 3

Look = Callable[[], Finding]


@dataclass(frozen=True)
class Looks:
    """What is found without a request to the application; None where it cannot be looked at from here."""

    tls: Look | None = None
    containers: Look | None = None


def of_release(
    release: Release,
    environment: Environment,
    prober: Prober,
    *,
    wanted: frozenset[Kind],
    looks: Looks,
) -> list[Question]:
    """The tests of a release: those of the `wanted` kinds that it can have, then those of the configuration."""
    healths = _healths(release)
    page, api = _page(release), _api(release)
    asked = [*healths.values(), *(t for t in (page, api) if t)]
    found: dict[Kind, list[Question]] = {
        Kind.FRONTEND: [_frontend(release, page)],
        Kind.HEALTH: [Question(f"{name} health", (t,), _health) for name, t in healths.items()],
        Kind.API: [_api_question(api)],
        Kind.TIME: [_times(asked)],
        Kind.DATABASE: [_database(list(healths.values()), environment.database is not None)],
        Kind.TLS: [look(Kind.TLS, looks.tls, "the environment has no https url")],
        Kind.CORS: [_cors(environment.cors, api_health(release, healths))],
        Kind.CONTAINERS: [look(Kind.CONTAINERS, looks.containers, "no containers are known")],
    }
    built_in = [question for kind in Kind if kind in wanted for question in found[kind]]
    taken = {question.id for question in built_in}
    return built_in + [configured(test, prober, taken) for test in environment.smoke]


def private_kinds(full: bool) -> frozenset[Kind]:
    """What a slot can show on its private ports."""
    return (frozenset(Kind) - {Kind.TLS, Kind.CORS}) if full else ESSENTIAL


def public_kinds(full: bool) -> frozenset[Kind]:
    """What the public route can show of a release. A certificate is none of its doing."""
    return (frozenset(Kind) - {Kind.TLS}) if full else ESSENTIAL


def _healths(release: Release) -> dict[str, SmokeTest]:
    """The health path of every component that is asked for it through the routes."""
    found = {}
    for name, component in release.components.items():
        served_by = release.component_for(component.health.path)
        if served_by is not None and served_by.name == name:
            found[name] = _get(component, component.health.path)
    return found


def _get(component: Component, path: str) -> SmokeTest:
    return SmokeTest(path, path, headers=component.health.headers)


def _health(answers: Sequence[Answer], ask: Ask) -> Finding:
    return kinds.judge_health(answers[0])


def _page(release: Release) -> SmokeTest | None:
    component = release.component_for("/")
    return _get(component, "/") if component else None


def _frontend(release: Release, page: SmokeTest | None) -> Question:
    if page is None:
        return inapplicable(Kind.FRONTEND, "no route serves /")
    alone = len({route.component for route in release.routes}) == 1

    def judge(answers: Sequence[Answer], ask: Ask) -> Finding:
        answer = followed(page, answers[0], ask)
        if answer.error is None and 300 <= answer.status < 400:
            return does_not_apply(f"/ redirects to {answer.headers.get('location', 'nowhere')}")
        if answer.error is None and ((alone and answer.status == 404) or kinds.is_json(answer)):
            return does_not_apply("the component behind / serves no page")
        return kinds.judge_frontend(answer)

    return Question(Kind.FRONTEND, (page,), judge)


def followed(test: SmokeTest, answer: Answer, ask: Ask, own: tuple[str, str] = ("", "")) -> Answer:
    """The answer after redirects that stay on the same site; one that leads elsewhere is returned as it is.

    `own` is the site's scheme and host, as redirects name it.
    """
    for _ in range(REDIRECTS):
        location = urlsplit(answer.headers.get("location", ""))
        if answer.error is not None or not 300 <= answer.status < 400 or not location.path:
            break
        if location.netloc and (location.scheme or own[0], location.netloc) != own:
            break
        path = location.path if location.path.startswith("/") else f"/{location.path}"
        answer = ask(replace(test, path=f"{path}?{location.query}" if location.query else path))
    return answer


def _api(release: Release) -> SmokeTest | None:
    """The nearest parent of a health path that is no page: the API's root, as far as a configuration shows it."""
    page = release.component_for("/")
    for component in release.components.values():
        parent = component.health.path.partition("?")[0].rstrip("/").rpartition("/")[0] + "/"
        paths = [parent, *(r.path for r in release.routes if r.component == component.name)]
        for path in paths:
            served_by = release.component_for(path)
            if path != "/" and served_by is component and (component is not page or path == parent):
                return _get(component, path)
    return None


def _api_question(api: SmokeTest | None) -> Question:
    if api is None:
        return inapplicable(Kind.API, "no route but /")
    return Question(Kind.API, (api,), lambda answers, ask: kinds.judge_api(api.path, answers[0], named=False))


def api_health(release: Release, healths: Mapping[str, SmokeTest]) -> SmokeTest | None:
    """A path of the API that is known to answer: the health path of the component that is not the page's."""
    page = release.component_for("/")
    others = [test for name, test in healths.items() if page is None or name != page.name]
    return next(iter(others or healths.values()), None)


def _times(tests: Sequence[SmokeTest]) -> Question:
    if not tests:
        return inapplicable(Kind.TIME, "nothing is asked")
    return Question(
        Kind.TIME,
        tuple(tests),
        lambda answers, ask: kinds.judge_times(dict(zip((t.path for t in tests), answers, strict=True))),
    )


def _database(tests: Sequence[SmokeTest], known: bool) -> Question:
    if not tests:
        return inapplicable(Kind.DATABASE, "no health path is asked")
    return Question(
        Kind.DATABASE,
        tuple(tests),
        lambda answers, ask: kinds.judge_database(
            dict(zip((t.path for t in tests), answers, strict=True)), configured=known
        ),
    )


def _cors(origins: Sequence[str], test: SmokeTest | None) -> Question:
    if not origins:
        return inapplicable(Kind.CORS, "cors.origins is not configured")
    if test is None:
        return inapplicable(Kind.CORS, "no health path is asked")
    asked = {key: cors_request(test, *key) for key in cors_keys(origins)}
    return Question(
        Kind.CORS,
        tuple(asked.values()),
        lambda answers, ask: kinds.judge_cors(origins, dict(zip(asked, answers, strict=True))),
    )


def cors_keys(origins: Sequence[str]) -> list[tuple[str, str]]:
    """(method, origin) of everything asked; `*` stands for whoever asks."""
    named = [origin for origin in origins if origin != "*"]
    return [(method, origin) for origin in (*named, FOREIGN_ORIGIN) for method in ("OPTIONS", "GET")]


def cors_request(test: SmokeTest, method: str, origin: str) -> SmokeTest:
    """A preflight (OPTIONS) or the request itself, as a browser on `origin` sends it."""
    asked = {"Origin": origin}
    if method == "OPTIONS":
        asked["Access-Control-Request-Method"] = "GET"
    return replace(test, method=method, headers=joined(test.headers, asked))


def look(kind: Kind, looked: Look | None, otherwise: str) -> Question:
    if looked is None:
        return inapplicable(kind, otherwise)
    return Question(kind, (), lambda answers, ask: looked())


def inapplicable(kind: Kind, why: str) -> Question:
    return Question(kind, (), lambda answers, ask: does_not_apply(why))
