"""What is allowed but deserves a word: warnings and notices about a configuration without faults."""

from __future__ import annotations

from collections.abc import Iterator

from backstay.config import schema
from backstay.config.defaults import level_of
from backstay.config.document import Document
from backstay.config.problem import KeyPath, Problem, Severity
from backstay.domain.policy import Level
from backstay.domain.release import serves


def advice(document: Document, config: schema.Config) -> list[Problem]:
    """Warnings and notices for all environments of `config`."""
    return [
        *(_told(document, Severity.NOTICE, *found) for found in _unused(config)),
        *(_told(document, Severity.NOTICE, *found) for found in _shared_binds(config)),
        *(_told(document, Severity.WARNING, *found) for found in _open_binds(config)),
        *(_told(document, Severity.WARNING, *found) for found in _unserved_smokes(config)),
    ]


def _told(document: Document, severity: Severity, path: KeyPath, message: str) -> Problem:
    return Problem(document.name, document.position(path), path, message, severity)


def _unused(config: schema.Config) -> Iterator[tuple[KeyPath, str]]:
    engines = {environment.engine for environment in config.environments.values()}
    for name, component in config.components.items():
        if component.workdir is not None and "process" not in engines:
            yield ("components", name, "workdir"), "unused: only the process engine has a working folder"
        if component.image is not None and "docker" not in engines:
            yield ("components", name, "image"), "unused: the process engine runs what lies in workdir"
    if config.registry is not None and "docker" not in engines:
        yield ("registry",), "unused: the process engine has no registry"


def _shared_binds(config: schema.Config) -> Iterator[tuple[KeyPath, str]]:
    seen: dict[str, str] = {}
    for name, environment in config.environments.items():
        address = str(environment.router.bind)
        first = seen.setdefault(address, name)
        if first != name:
            message = f"{first} listens on {address} too; the two cannot run on the same host"
            yield ("environments", name, "router", "bind"), message


def _open_binds(config: schema.Config) -> Iterator[tuple[KeyPath, str]]:
    for name, environment in config.environments.items():
        bind = environment.router.bind
        if level_of(environment.policy, name) is Level.STRICT and not bind.is_loopback:
            yield (
                ("environments", name, "router", "bind"),
                f"{bind} can be reached from outside without TLS, which is not built yet;"
                " bind loopback behind something that ends TLS",
            )


def _unserved_smokes(config: schema.Config) -> Iterator[tuple[KeyPath, str]]:
    for index, test in enumerate(config.smoke):
        path = test.path.partition("?")[0]
        if not any(serves(route.path, path) for route in config.routes):
            yield ("smoke", index, "path"), "no route takes this path, so the router itself answers it"
