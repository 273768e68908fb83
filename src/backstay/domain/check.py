"""Checks: what one found, and which findings stop a deployment under which policy."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from backstay.domain.policy import CheckSet


class Severity(StrEnum):
    """How much a finding weighs. A `NOTICE` tells something and never fails; only a strict policy fails on a
    `WARNING`."""

    NOTICE = "notice"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one check or smoke test, in the words of the contract.

    `severity` weighs what was found when `ok` is False. A check that could not look, or has only something to
    tell, is `ok` with severity `notice`.
    """

    id: str
    ok: bool
    detail: str
    took_s: float
    hint: str | None = None
    severity: str = Severity.ERROR.value


BASIC: Final = frozenset({"variables", "config", "engine", "registry", "manifest"})


def kind_of(id_: str) -> str:
    """What a check is about: `manifest` of `manifest backend`."""
    return id_.partition(" ")[0]


def belongs(id_: str, wanted: CheckSet) -> bool:
    """Whether a set of checks has this one."""
    return wanted is not CheckSet.BASIC or kind_of(id_) in BASIC


def failing(results: Iterable[CheckResult], wanted: CheckSet, accept: Collection[str]) -> list[CheckResult]:
    """Those of `results` that stop a deployment.

    Errors always do and cannot be accepted. Warnings do in the strict set, unless `accept` has the id of the
    check or its kind.
    """

    def stops(result: CheckResult) -> bool:
        if result.ok or result.severity == Severity.NOTICE:
            return False
        if result.severity == Severity.ERROR:
            return True
        return wanted is CheckSet.STRICT and result.id not in accept and kind_of(result.id) not in accept

    return [result for result in results if stops(result)]
