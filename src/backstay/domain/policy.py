"""Policies: how careful an environment is. The numbers are defaults; every one is a key of `policy:`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from backstay.domain.backup import BackupLimits
from backstay.domain.lease import LEASE_TIME_S
from backstay.domain.objective import Objective


class Level(StrEnum):
    BASIC = "basic"
    STANDARD = "standard"
    STRICT = "strict"


class BackupRule(StrEnum):
    """When a deployment backs the database up first."""

    MIGRATION = "migration"
    ALWAYS = "always"


class Trial(StrEnum):
    """When a deployment tries something out first: never, when it brings a migration, or every time."""

    OFF = "off"
    MIGRATION = "migration"
    ALWAYS = "always"

    def wanted(self, migrating: bool) -> bool:
        return self is Trial.ALWAYS or (self is Trial.MIGRATION and migrating)


class CheckSet(StrEnum):
    """Which checks run before a deployment. `BASIC`: variables, engine, registry and manifest, configuration.
    `STRICT` runs as many as `STANDARD`, and a warning fails unless the policy accepts it by its id."""

    BASIC = "basic"
    STANDARD = "standard"
    STRICT = "strict"


class SmokeSet(StrEnum):
    """Which of the built-in smoke tests run; those of the configuration always do.

    `ESSENTIAL`: health, frontend, API. `FULL`: all eight kinds that apply.
    """

    ESSENTIAL = "essential"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Triggers:
    """The hard triggers that reverse a release in its bake. Shares are fractions of 1, times seconds.

    `error_points` and `slow_points` are percentage *points* over the old slot's share (0.05 = five points).
    """

    failed_probes: int = 3
    probe_interval_s: float = 1.0
    probe_deadline_s: float = 2.0
    failed_smokes: int = 2
    restarts: int = 2
    restart_window_s: float = 300.0
    error_points: float = 0.05
    slow_points: float = 0.05
    slow_answer_s: float = 2.0
    sample_window_s: float = 60.0
    baseline_window_s: float = 300.0
    least_requests: int = 20


@dataclass(frozen=True, slots=True)
class Policy:
    """What an environment demands of a deployment. Times in seconds.

    `verify`: restore the backup before going on. `rehearsal`: do so, and try the release on the copy. A lock that
    visitors wait for longer than `long_lock_s` is told, longer than `longest_lock_s` it makes a migration breaking.
    """

    level: Level
    checks: CheckSet
    backup: BackupRule
    smoke: SmokeSet
    bake_s: float
    smoke_every_s: float | None
    accept: tuple[str, ...] = ()
    triggers: Triggers = Triggers()
    migrate_deadline_s: float = 1800.0
    lock_timeout_s: float = 5.0
    drain_deadline_s: float = 30.0
    keep_backups: int = 10
    backup_deadline_s: float = 14400.0
    backup_stall_s: float = 300.0
    backup_checksums: bool = True
    hold_deadline_s: float = 25.0
    keep_replaced_s: float = 7 * 86400.0
    lease_s: float = LEASE_TIME_S
    rehearsal: Trial = Trial.OFF
    verify: Trial = Trial.OFF
    long_lock_s: float = 1.0
    longest_lock_s: float = 10.0
    rto_s: float = 300.0
    rpo_s: float = 900.0

    @property
    def objective(self) -> Objective:
        return Objective(self.rto_s, self.rpo_s)

    @property
    def backup_limits(self) -> BackupLimits:
        return BackupLimits(self.backup_deadline_s, self.backup_stall_s)


BUILT_IN: Final = {
    Level.BASIC: Policy(
        Level.BASIC,
        CheckSet.BASIC,
        BackupRule.MIGRATION,
        SmokeSet.ESSENTIAL,
        bake_s=10.0,
        smoke_every_s=None,
        rto_s=1800.0,
        rpo_s=86400.0,
    ),
    Level.STANDARD: Policy(
        Level.STANDARD,
        CheckSet.STANDARD,
        BackupRule.ALWAYS,
        SmokeSet.FULL,
        bake_s=120.0,
        smoke_every_s=None,
        rto_s=900.0,
        rpo_s=3600.0,
        rehearsal=Trial.MIGRATION,
        verify=Trial.MIGRATION,
    ),
    Level.STRICT: Policy(
        Level.STRICT,
        CheckSet.STRICT,
        BackupRule.ALWAYS,
        SmokeSet.FULL,
        bake_s=600.0,
        smoke_every_s=5.0,
        rehearsal=Trial.ALWAYS,
        verify=Trial.ALWAYS,
    ),
}


def default_level(environment: str) -> Level:
    """dev is basic, uat standard; prod and every other name are strict, so a new name is never too lax."""
    return {"dev": Level.BASIC, "uat": Level.STANDARD}.get(environment, Level.STRICT)
