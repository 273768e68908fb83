"""Reading backstay.yml: all faults at once, or the application."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from backstay.config import schema
from backstay.config.advice import advice
from backstay.config.build import application
from backstay.config.document import Document
from backstay.config.faults import problem_of
from backstay.config.problem import KeyPath, Problem, Severity, suggestion
from backstay.config.rules import broken_rules, empty_values
from backstay.config.source import read
from backstay.domain.environment import Application
from backstay.errors import ConfigError


def check(path: Path, environ: Mapping[str, str]) -> list[Problem]:
    """Everything that is wrong in any environment, or else what is worth knowing; in order of lines."""
    document = read(path, environ)
    config, problems = validated(document)
    if config is not None:
        problems = advice(document, config)
    return _sorted(problems)


def load(path: Path, environment: str, environ: Mapping[str, str], home: Path) -> Application:
    """The application in `environment`. `home` is the state folder.

    Other environments of the file are not looked at, so that a variable which only they need may be missing.
    Raises ConfigError with a line for every fault.
    """
    document, config = restricted(path, environment, environ)
    return application(config, environment, document.path, home)


def restricted(path: Path, environment: str, environ: Mapping[str, str]) -> tuple[Document, schema.Config]:
    """The file with only `environment` in it, validated. Raises ConfigError with a line for every fault."""
    document = read(path, environ)
    unknown = _without_others(document, environment)
    config, problems = validated(document)
    errors = unknown + problems
    if errors or config is None:
        raise ConfigError("\n".join(str(problem) for problem in _sorted(errors)))
    return document, config


def validated(document: Document) -> tuple[schema.Config | None, list[Problem]]:
    """The validated file, or None and its faults. A value gets one fault, the one that caused others."""
    if document.data is None and document.problems:
        return None, list(document.problems)
    config, faults = schema.validate(document.data)
    problems = list(document.problems)
    _add(problems, empty_values(document))
    _add(problems, [problem_of(document, fault) for fault in faults])
    _add(problems, broken_rules(document))
    return (None if problems else config), problems


def _add(problems: list[Problem], found: list[Problem]) -> None:
    known = {problem.key for problem in problems if problem.key}
    problems.extend(problem for problem in found if problem.key not in known)


def _without_others(document: Document, environment: str) -> list[Problem]:
    """Take the other environments out; a problem when `environment` is not among them."""
    names = list(document.mapping("environments"))

    def is_other(key: KeyPath) -> bool:
        return len(key) > 1 and key[0] == "environments" and key[1] != environment

    document.problems = [problem for problem in document.problems if not is_other(problem.key)]
    if environment not in names:
        if not names:
            return []
        told = (
            f'no environment "{environment}"{suggestion(environment, names)} (there are: {", ".join(names)})'
        )
        return [document.problem(("environments",), told)]
    document.data["environments"] = {environment: document.mapping("environments")[environment]}
    return []


def _sorted(problems: list[Problem]) -> list[Problem]:
    order = list(Severity)
    return sorted(problems, key=lambda problem: (order.index(problem.severity), problem.position))
