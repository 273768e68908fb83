"""Objectives: how much would be lost now, how long a recovery takes, against what is promised."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backstay.domain.objective import Objective, Protection, Standing, rpo, rto

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PROD = Objective(rto_s=300, rpo_s=900)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("backup", "received", "lost_s", "standing"),
    [
        (None, None, None, Standing.BROKEN),
        (60, None, 60, Standing.MET),
        (900, None, 900, Standing.MET),
        (900.5, None, 900.5, Standing.BROKEN),
        (86400, 0.2, 0.2, Standing.MET),
        (86400, 901, 901, Standing.BROKEN),
        (30, 901, 30, Standing.MET),
        (None, 5, 5, Standing.MET),
        (-3, None, 0, Standing.MET),
        (-61, None, None, Standing.BROKEN),
        (-86400, 60, 60, Standing.MET),
        (60, -86400, 60, Standing.MET),
    ],
)
def test_what_would_be_lost_is_the_age_of_the_best_there_is(
    backup: float | None, received: float | None, lost_s: float | None, standing: Standing
) -> None:
    protection = Protection(
        NOW, ago(backup) if backup is not None else None, ago(received) if received is not None else None
    )
    found = rpo(PROD, protection)
    assert (found.standing, found.actual_s, found.target_s) == (standing, lost_s, 900)


def test_it_says_what_it_is_the_age_of() -> None:
    assert "age of the newest backup" in rpo(PROD, Protection(NOW, ago(60))).why
    assert "age of the WAL received" in rpo(PROD, Protection(NOW, ago(60), ago(1))).why
    assert "everything would be lost" in rpo(PROD, Protection(NOW)).why
    ahead = rpo(PROD, Protection(NOW, NOW + timedelta(days=3))).why
    assert "2026-11-26 12:00 UTC, in the future" in ahead and "clock" in ahead


@pytest.mark.parametrize(
    ("drilled_s", "standing"),
    [(None, Standing.UNMEASURED), (12.5, Standing.MET), (300, Standing.MET), (301, Standing.BROKEN)],
)
def test_a_recovery_time_is_known_only_from_a_drill(drilled_s: float | None, standing: Standing) -> None:
    found = rto(PROD, drilled_s)
    assert (found.standing, found.actual_s, found.target_s) == (standing, drilled_s, 300)
