"""A plan: what a deployment will do, decided before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from backstay.domain.deployment import DeploymentKind
from backstay.domain.environment import Environment
from backstay.domain.policy import BackupRule
from backstay.domain.release import Release
from backstay.domain.slot import Slot, SlotMapping, Slots


class Origin(StrEnum):
    """Where a component's container comes from: a new one, or one that a slot has already."""

    NEW = "new"
    LIVE = "live"
    STANDBY = "standby"


@dataclass(frozen=True, slots=True)
class Restoration:
    """Which backup takes the place of the live database, and how many rows written since may go with it; None: none."""

    backup: str
    accept_loss: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a worker needs beside the environment's settings. `origins` has one entry per component.

    `before` is what stood in the slots when the plan was made: where going back goes to. `maintenance`: a migration
    that the old release cannot live with is allowed, behind held requests. `unused`: tables and columns that the
    old release is said not to use, so that a migration may take them. `restoration` belongs to a restore.
    """

    kind: DeploymentKind
    release: Release
    previous: Release | None
    origins: Mapping[str, Origin]
    before: Slots
    maintenance: bool = False
    unused: tuple[str, ...] = ()
    restoration: Restoration | None = None

    @property
    def target(self) -> Slot:
        """The slot the release will stand in."""
        return self.before.target

    @property
    def is_warm(self) -> bool:
        """Whether the release stands ready in the other slot, so that one router command is enough. Its containers
        alone do not tell: another release of the same ones has other routes."""
        standby = self.before.standby
        stands = standby is not None and standby.release == self.release.id
        return stands and all(origin is Origin.STANDBY for origin in self.origins.values())

    @property
    def new_components(self) -> tuple[str, ...]:
        return tuple(name for name, origin in self.origins.items() if origin is Origin.NEW)

    @property
    def migrating(self) -> tuple[str, ...]:
        """Components whose migrations run: new ones of a deploy. Nothing else ever migrates."""
        if self.kind is not DeploymentKind.DEPLOY:
            return ()
        return tuple(c.name for c in self.release.migrating if self.origins[c.name] is Origin.NEW)


def wants_backup(plan: Plan, environment: Environment) -> bool:
    """Whether this plan backs the database up first."""
    if environment.database is None or plan.kind is not DeploymentKind.DEPLOY:
        return False
    return environment.policy.backup is BackupRule.ALWAYS or bool(plan.migrating)


def wants_rehearsal(plan: Plan, environment: Environment) -> bool:
    """Whether this plan tries the release on a restored copy of the backup it makes."""
    return wants_backup(plan, environment) and environment.policy.rehearsal.wanted(bool(plan.migrating))


def wants_verification(plan: Plan, environment: Environment) -> bool:
    """Law 6: whether the backup this plan makes is restored before anything else happens. A rehearsal does that."""
    wanted = environment.policy.verify.wanted(bool(plan.migrating))
    return wants_backup(plan, environment) and (wanted or wants_rehearsal(plan, environment))


def wants_hold(plan: Plan, environment: Environment, verdict: str | None = None) -> bool:
    """Whether the migration runs behind held requests: allowed, and not known to be harmless to the old release.

    `verdict` is the rehearsal's, None when there was none.
    """
    has_somebody = plan.before.serving is not None and environment.database is not None
    return plan.maintenance and bool(plan.migrating) and has_somebody and verdict != "compatible"


def deploy_origins(release: Release, only: tuple[str, ...], slots: Slots) -> dict[str, Origin]:
    """Origins for a deploy: all new, or with `only` just those, the rest shared with the live slot."""
    live = slots.serving
    return {
        name: Origin.LIVE if only and name not in only and live and name in live.placements else Origin.NEW
        for name in release.components
    }


def rollback_origins(
    release: Release,
    live: Release,
    standby: Release | None,
    slots: Slots,
    gone: frozenset[str] = frozenset(),
) -> dict[str, Origin]:
    """Origins for a rollback: the live container where nothing changes, the standby one where it is the same
    component, else a new one from the recorded digest. `gone`: ids of containers that the engine has no more."""

    def stands(mapping: SlotMapping | None, name: str) -> bool:
        placement = mapping.placements.get(name) if mapping else None
        return placement is not None and placement.container not in gone

    origins = {}
    for name, component in release.components.items():
        ready = standby if stands(slots.standby, name) else None
        if ready is not None and ready.id == release.id:
            origins[name] = Origin.STANDBY
        elif live.components.get(name) == component and stands(slots.serving, name):
            origins[name] = Origin.LIVE
        elif ready is not None and ready.components.get(name) == component:
            origins[name] = Origin.STANDBY
        else:
            origins[name] = Origin.NEW
    return origins
