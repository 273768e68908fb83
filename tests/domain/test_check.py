"""Which findings stop a deployment: every severity under every policy."""

from __future__ import annotations

import pytest

from backstay.domain.check import CheckResult, Severity, belongs, failing
from backstay.domain.policy import CheckSet


def result(id_: str, severity: Severity, ok: bool = False) -> CheckResult:
    return CheckResult(id_, ok, "found", 0.1, None, severity.value)


FINDINGS = [
    result("engine", Severity.ERROR),
    result("clock", Severity.WARNING),
    result("memory", Severity.WARNING),
    result("artifact backend", Severity.WARNING),
    result("network", Severity.NOTICE),
    result("disk", Severity.ERROR, ok=True),
]


@pytest.mark.parametrize(
    ("wanted", "accept", "stopping"),
    [
        (CheckSet.BASIC, (), ["engine"]),
        (CheckSet.STANDARD, (), ["engine"]),
        (CheckSet.STRICT, (), ["engine", "clock", "memory", "artifact backend"]),
        (CheckSet.STRICT, ("clock", "nonsense"), ["engine", "memory", "artifact backend"]),
        (CheckSet.STRICT, ("artifact backend", "memory"), ["engine", "clock"]),
        (CheckSet.STRICT, ("artifact", "engine"), ["engine", "clock", "memory"]),
    ],
)
def test_errors_always_stop_and_warnings_only_in_a_strict_environment_that_does_not_accept_them(
    wanted: CheckSet, accept: tuple[str, ...], stopping: list[str]
) -> None:
    assert [r.id for r in failing(FINDINGS, wanted, accept)] == stopping


def test_the_basic_set_is_variables_configuration_engine_registry_and_manifests() -> None:
    ids = [
        "variables",
        "config",
        "engine",
        "clock",
        "registry",
        "manifest a",
        "artifact a",
        "disk",
        "database",
    ]
    assert [i for i in ids if belongs(i, CheckSet.BASIC)] == [
        "variables", "config", "engine", "registry", "manifest a",
    ]  # fmt: skip
    assert all(belongs(i, wanted) for i in ids for wanted in (CheckSet.STANDARD, CheckSet.STRICT))
