"""Drills: what they prove, and that an old backup restored well is a failure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backstay.domain.drill import Drill, DrillKind, canary_proof, freshness, targets, trend
from backstay.domain.objective import Objective

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PROD = Objective(rto_s=300, rpo_s=900)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("age_s", "ok"), [(0, True), (900, True), (901, False), (30 * 86400, False), (-5, True), (-61, False)]
)
def test_data_older_than_the_rpo_fails_a_drill(age_s: float, ok: bool) -> None:
    found = freshness(ago(age_s), NOW, PROD)
    assert found.ok is ok and ("clock" if age_s < -60 else "RPO") in found.detail


@pytest.mark.parametrize(
    ("canary_s", "expected", "claimed_s", "ok"),
    [
        (None, False, 60, None),
        (None, True, 60, False),
        (90, True, 60, True),
        (60, True, 60, True),
        (30, True, 60, True),
        (400, True, 60, False),
        (1000, True, 880, True),
        (2000, True, 1990, False),
    ],
)
def test_the_canary_must_be_as_young_as_the_data_claims_to_be(
    canary_s: float | None, expected: bool, claimed_s: float, ok: bool | None
) -> None:
    canary = ago(canary_s) if canary_s is not None else None
    assert canary_proof(canary, expected, ago(claimed_s), NOW, PROD).ok is ok


@pytest.mark.parametrize(
    ("rto_s", "rpo_s", "ok"), [(300, 900, True), (301, 1, False), (1, 901, False), (1, None, True)]
)
def test_both_targets_must_hold(rto_s: float, rpo_s: float | None, ok: bool) -> None:
    assert targets(PROD, rto_s, rpo_s).ok is ok


def drill(number: int, rto_s: float, *, ok: bool = True) -> Drill:
    return Drill(number, "shop", "prod", DrillKind.RESTORE, "", "", ok, "", rto_s=rto_s, rpo_s=1.0)


def test_a_trend_compares_the_newest_with_the_median_of_those_before() -> None:
    found = trend([drill(4, 20), drill(3, 99, ok=False), drill(2, 10), drill(1, 8), drill(0, 30)])
    assert list(found.rto_s) == [20, 10, 8, 30]
    assert found.ratio == 2


def test_one_drill_is_no_trend_yet() -> None:
    assert trend([drill(1, 20)]).ratio is None and trend([]).rto_s == ()
