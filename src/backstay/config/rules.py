"""Rules that look at several keys at once.

They read the plain data, not the validated models, so that their faults are reported together with those that
the schema finds. What has the wrong type is left to the schema.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from backstay.config import values
from backstay.config.document import Document
from backstay.config.problem import KeyPath, Problem, suggestion
from backstay.domain.header import equal_names

STORE_SCHEMES: Final = ("sqlite", "postgresql+psycopg", "postgresql", "postgres")

Rule = Callable[[Document], Iterator[Problem]]


def broken_rules(document: Document) -> list[Problem]:
    """All faults of all rules."""
    return [problem for rule in _RULES for problem in rule(document)]


def empty_values(document: Document) -> list[Problem]:
    """Keys without a value. An environment may be empty, and JSON may be expected to be null."""

    def walk(value: Any, path: KeyPath) -> Iterator[Problem]:
        if value is None and path and not _may_be_empty(path):
            yield document.problem(path, "has no value; give it one, or remove the key")
        children = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        for part, child in children:
            yield from walk(child, (*path, part))

    return list(walk(document.data, ()))


def _may_be_empty(path: KeyPath) -> bool:
    return (len(path) == 2 and path[0] == "environments") or path[2:4] == ("expect", "json")


def _routes(document: Document) -> Iterator[Problem]:
    components = list(document.mapping("components"))
    seen: dict[str, int] = {}
    for index in range(len(document.sequence("routes"))):
        component, path = document.get("routes", index, "component"), document.get("routes", index, "path")
        if isinstance(component, str) and components and component not in components:
            told = suggestion(component, components) or f"; there are: {', '.join(components)}"
            yield document.problem(("routes", index, "component"), f"no such component{told}", value=True)
        # /api and /api/ both take /api, /api/ and everything below.
        if isinstance(path, str) and seen.setdefault(path.rstrip("/"), index) != index:
            first = document.position(("routes", seen[path.rstrip("/")])).line
            message = f"the route at line {first} takes the same requests"
            yield document.problem(("routes", index, "path"), message, value=True)


def _components(document: Document) -> Iterator[Problem]:
    for name in document.mapping("components"):
        at: KeyPath = ("components", name)
        yield from _twice(document, (*at, "secrets"), lambda secret: secret)
        yield from _twice(document, (*at, "volumes"), _mount_point)
        for index, secret in enumerate(document.sequence(*at, "secrets")):
            if isinstance(secret, str) and secret in document.mapping(*at, "env"):
                yield document.problem(
                    (*at, "secrets", index), f"{secret} is in env too; keep one of them", value=True
                )
        yield from _health(document, (*at, "health"))
        yield from _headers(document, (*at, "health", "headers"))


def _health(document: Document, at: KeyPath) -> Iterator[Problem]:
    try:
        interval = values.duration(document.get(*at, "interval") or "500ms")
        deadline = values.duration(document.get(*at, "deadline") or "120s")
    except ValueError:
        return
    if interval >= deadline:
        known = "interval" if document.get(*at, "interval") is not None else "deadline"
        yield document.problem((*at, known), "the interval must be shorter than the deadline", value=True)


def _headers(document: Document, at: KeyPath) -> Iterator[Problem]:
    """HTTP takes names that differ in case alone for the same."""
    for name, first in equal_names(document.mapping(*at)).items():
        line = document.position((*at, first)).line
        yield document.problem(
            (*at, name), f"the same header twice; it is at line {line} already, as {first}"
        )


def _twice(document: Document, at: KeyPath, identity: Callable[[str], str]) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index, item in enumerate(document.sequence(*at)):
        if isinstance(item, str) and seen.setdefault(identity(item), index) != index:
            first = document.position((*at, seen[identity(item)]), value=True).line
            yield document.problem(
                (*at, index), f"{identity(item)} is there twice; first at line {first}", value=True
            )


def _mount_point(volume: str) -> str:
    return volume.partition(":")[2].partition(":")[0].rstrip("/")


def _smoke(document: Document) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index in range(len(document.sequence("smoke"))):
        name = document.get("smoke", index, "name")
        if isinstance(name, str) and seen.setdefault(name, index) != index:
            first = document.position(("smoke", seen[name], "name")).line
            message = f"the same name twice; it is at line {first} already"
            yield document.problem(("smoke", index, "name"), message, value=True)
        yield from _headers(document, ("smoke", index, "headers"))
        yield from _headers(document, ("smoke", index, "expect", "header"))


def _secrets(document: Document) -> Iterator[Problem]:
    users = [
        f"components.{name}"
        for name in document.mapping("components")
        if document.sequence("components", name, "secrets")
    ]
    users += [key for key in ("database", "registry") if document.mapping(key)]
    for name, environment in document.mapping("environments").items():
        if users and isinstance(environment, dict | None) and not (environment or {}).get("secrets"):
            yield document.problem(
                ("environments", name),
                f"{' and '.join(users)} want secrets, but this environment has no secrets file;"
                " add secrets: {file: PATH}",
            )


def _copy(document: Document) -> Iterator[Problem]:
    at = ("database", "copy", "command")
    words = document.sequence(*at)
    if words and not any(isinstance(word, str) and "{path}" in word for word in words):
        message = "must have {path} in it: the folder that is to be copied"
        yield document.problem(at, message)


def _ports(document: Document) -> Iterator[Problem]:
    needed = 2 * len(document.mapping("components"))
    for name in document.mapping("environments"):
        at = ("environments", name, "ports")
        try:
            low, high = values.port_range(document.get(*at))
        except ValueError:
            continue
        if high - low + 1 < needed:
            message = f"must hold at least {needed} ports: two slots with every component in them"
            yield document.problem(at, message, value=True)


def _engines(document: Document) -> Iterator[Problem]:
    """What the engine of each environment needs of the components, and what it cannot give them."""
    environments = document.mapping("environments")
    on_processes = [
        name for name in environments if document.get("environments", name, "engine") == "process"
    ]
    on_docker = [name for name in environments if name not in on_processes]
    for name, component in document.mapping("components").items():
        if not isinstance(component, dict):
            continue
        at: KeyPath = ("components", name)
        if on_docker and "image" not in component:
            yield document.problem(at, f'the key "image" is missing: {_engine(on_docker, "docker")} needs it')
        if on_processes:
            yield from _runs_as_process(document, at, component, _engine(on_processes, "process"))
    for name in on_processes:
        if document.get("environments", name, "network") is not None:
            message = "the process engine has no networks: its processes share the host's; remove the key"
            yield document.problem(("environments", name, "network"), message)


def _engine(environments: list[str], engine: str) -> str:
    return f"the {engine} engine of {' and '.join(environments)}"


def _runs_as_process(
    document: Document, at: KeyPath, component: dict[str, Any], engine: str
) -> Iterator[Problem]:
    for key in ("command", "workdir"):
        if not component.get(key) and component.get(key, "") is not None:
            message = f"{engine} needs it"
            known = key in component
            yield document.problem(
                (*at, key) if known else at, message if known else f'the key "{key}" is missing: {message}'
            )
    workdir = component.get("workdir")
    if isinstance(workdir, str) and workdir and "{version}" not in workdir:
        message = "must contain {version}: every release needs a folder of its own"
        yield document.problem((*at, "workdir"), message, value=True)
    for key, cannot in (("volumes", "cannot mount volumes"), ("memory", "cannot limit memory")):
        if component.get(key):
            cure = "remove the key, or run the environment on docker"
            yield document.problem((*at, key), f"{engine} {cannot}; {cure}")


def _continuous(document: Document) -> Iterator[Problem]:
    """Without a database there is no write-ahead log to receive, and without physical backups nothing to replay it
    on."""
    has_database = document.get("database") is not None
    wanted = [("database",), *(("environments", name) for name in document.mapping("environments"))]
    for where in wanted:
        at: KeyPath = (*where, "continuous")
        if document.get(*at) not in (True, "true"):
            continue
        if not has_database:
            message = "there is no database to protect: name it by database.url_secret"
            yield document.problem(at, message, value=True)
        elif document.get("database", "backup") == "logical":
            message = "needs physical backups, and database.backup is logical"
            yield document.problem(at, message, value=True)


def _store(document: Document) -> Iterator[Problem]:
    store = document.get("store")
    scheme = store.partition("://")[0] if isinstance(store, str) and "://" in store else None
    if scheme is not None and scheme not in STORE_SCHEMES:
        message = "must be a path, sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
        yield document.problem(("store",), message, value=True)


_RULES: Final[tuple[Rule, ...]] = (
    _continuous,
    _routes,
    _components,
    _engines,
    _smoke,
    _secrets,
    _copy,
    _ports,
    _store,
)
