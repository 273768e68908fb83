"""The built-in policies: the numbers people rely on, per name of an environment."""

from __future__ import annotations

import pytest

from backstay.domain.objective import Objective
from backstay.domain.policy import (
    BUILT_IN,
    BackupRule,
    CheckSet,
    Level,
    Policy,
    SmokeSet,
    Trial,
    Triggers,
    default_level,
)

NAMES = {
    "dev": Level.BASIC,
    "uat": Level.STANDARD,
    "prod": Level.STRICT,
    "production": Level.STRICT,
    "staging": Level.STRICT,
    "DEV": Level.STRICT,
    "dev2": Level.STRICT,
    "": Level.STRICT,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_not_known_is_strict(name: str) -> None:
    assert default_level(name) is NAMES[name]


@pytest.mark.parametrize(
    ("level", "checks", "backup", "smoke", "bake_s", "smoke_every_s", "trial", "rto_s", "rpo_s"),
    [
        (
            Level.BASIC,
            CheckSet.BASIC,
            BackupRule.MIGRATION,
            SmokeSet.ESSENTIAL,
            10.0,
            None,
            Trial.OFF,
            1800,
            86400,
        ),
        (
            Level.STANDARD,
            CheckSet.STANDARD,
            BackupRule.ALWAYS,
            SmokeSet.FULL,
            120.0,
            None,
            Trial.MIGRATION,
            900,
            3600,
        ),
        (Level.STRICT, CheckSet.STRICT, BackupRule.ALWAYS, SmokeSet.FULL, 600.0, 5.0, Trial.ALWAYS, 300, 900),
    ],
)
def test_what_each_level_demands(
    level: Level,
    checks: CheckSet,
    backup: BackupRule,
    smoke: SmokeSet,
    bake_s: float,
    smoke_every_s: float | None,
    trial: Trial,
    rto_s: float,
    rpo_s: float,
) -> None:
    expected = Policy(
        level,
        checks,
        backup,
        smoke,
        bake_s,
        smoke_every_s,
        rehearsal=trial,
        verify=trial,
        rto_s=rto_s,
        rpo_s=rpo_s,
    )
    assert BUILT_IN[level] == expected
    assert expected.objective == Objective(rto_s, rpo_s)


def test_when_something_is_tried_first() -> None:
    wanted = {trial: (trial.wanted(False), trial.wanted(True)) for trial in Trial}
    assert wanted == {Trial.OFF: (False, False), Trial.MIGRATION: (False, True), Trial.ALWAYS: (True, True)}


def test_every_level_is_built_in_with_the_same_triggers() -> None:
    assert set(BUILT_IN) == set(Level)
    assert {policy.triggers for policy in BUILT_IN.values()} == {Triggers()}


def test_the_triggers_people_rely_on() -> None:
    assert Triggers() == Triggers(
        failed_probes=3,
        probe_interval_s=1,
        probe_deadline_s=2,
        failed_smokes=2,
        restarts=2,
        restart_window_s=300,
        error_points=0.05,
        slow_points=0.05,
        slow_answer_s=2,
        sample_window_s=60,
        baseline_window_s=300,
        least_requests=20,
    )
